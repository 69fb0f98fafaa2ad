#include "server/net/connections.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "tests/net/sockets.h"
#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

// A server that keeps the connections it gets and, as gRPC does, ends them when the other end has or when
// they are cut.
class TestConnections {
 public:
  explicit TestConnections(Connections::Options options = {}, const std::string& address = "127.0.0.1:0") {
    auto listener = Listener::Open(address);
    EXPECT_OK(listener);
    address_ = (*listener)->address();
    options.metrics = &metrics_.server().connections;
    if (options.process_time == nullptr)
      options.process_time = [] { return Clock::Real().Now() - absl::UnixEpoch(); };  // never without CPU
    if (options.serve == nullptr)
      options.serve = [this](int descriptor) {
        ++running_;
        std::thread([this, descriptor] {
          fcntl(descriptor, F_SETFL, 0);  // to block
          char block[65536];
          while (read(descriptor, block, sizeof(block)) > 0) {
          }
          shutdown(descriptor, SHUT_RDWR);
          close(descriptor);
          --running_;
        }).detach();
        ++served_;
      };
    connections_ = std::make_unique<Connections>(*std::move(listener), std::move(options));
    connections_->Start();
  }
  ~TestConnections() {
    connections_.reset();
    while (running_ > 0) std::this_thread::yield();
  }

  const std::string& address() const { return address_; }
  ClientSocket Connect() const { return ClientSocket(address_); }

  // A connection over which a request has come.
  ClientSocket ConnectAndAsk() {
    const int before = served_;
    ClientSocket client = Connect();
    WaitForServed(before + 1);
    connections_->HasAsked(client.name(), 1);
    return client;
  }

  // The test's time limit bounds these.
  void WaitForServed(int count) const {
    while (served_ < count) std::this_thread::yield();
  }
  void WaitForOpen(int count) const {
    while (metrics().open.Value() != count) std::this_thread::yield();
  }

  Connections* operator->() { return connections_.get(); }
  const ConnectionMetrics& metrics() const { return metrics_.server().connections; }
  double refused(ConnectionRefusal why) const { return metrics().refused_total(why).Value(); }

 private:
  mutable Metrics metrics_;
  std::atomic<int> served_ = 0, running_ = 0;
  std::string address_;
  std::unique_ptr<Connections> connections_;
};

// How many files this process may open, until destruction.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit now = {.rlim_cur = limit, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
  }
  ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_;
};

// Leaves this process no file to open, until destruction.
class NoDescriptors {
 public:
  NoDescriptors() {
    for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;) taken_.push_back(fd);
  }
  ~NoDescriptors() {
    for (const int fd : taken_) close(fd);
  }

 private:
  const DescriptorLimit limit_{256};
  std::vector<int> taken_;
};

TEST(ConnectionsTest, AreServedAndCountedUntilTheyEnd) {
  TestConnections connections;
  {
    const ClientSocket one = connections.Connect(), two = connections.Connect();
    connections.WaitForServed(2);
    connections.WaitForOpen(2);
  }
  connections.WaitForOpen(0);
  EXPECT_EQ(connections.metrics().accepted_total.Value(), 2);
}

TEST(ConnectionsTest, UnixSocketsHaveNoLimitPerAddress) {
  const std::string address = "unix:" + testing::TempDir() + "hachi-connections.sock";
  TestConnections connections({.limit_per_address = 1}, address);
  {
    const ClientSocket one = connections.Connect(), two = connections.Connect();
    connections.WaitForServed(2);
    connections.WaitForOpen(2);
  }
  connections.WaitForOpen(0);
}

TEST(ConnectionsTest, BeyondTheLimitTheOldestThatAskedNothingIsCut) {
  TestConnections connections({.limit = 2});
  const ClientSocket asked = connections.ConnectAndAsk();
  const ClientSocket silent = connections.Connect();
  connections.WaitForServed(2);
  const ClientSocket next = connections.Connect();
  EXPECT_TRUE(silent.IsClosedByPeer());
  connections.WaitForServed(3);
  EXPECT_TRUE(asked.IsOpen());
  EXPECT_TRUE(next.IsOpen());
  EXPECT_EQ(connections.metrics().cut_total(ConnectionCut::kMadeRoom).Value(), 1);
  EXPECT_EQ(connections.metrics().open.Value(), 2);
}

TEST(ConnectionsTest, BeyondTheLimitOfThoseThatAskedTheNewOneIsRefused) {
  TestConnections connections({.limit = 1});
  ClientSocket asked = connections.ConnectAndAsk();
  EXPECT_TRUE(connections.Connect().IsClosedByPeer());
  EXPECT_TRUE(asked.IsOpen());
  EXPECT_EQ(connections.refused(ConnectionRefusal::kLimit), 1);
  // Its place is free when it ends.
  asked.Close();
  connections.WaitForOpen(0);
  const ClientSocket next = connections.Connect();
  connections.WaitForServed(2);
  EXPECT_TRUE(next.IsOpen());
}

TEST(ConnectionsTest, AnAddressHasALimitOfItsOwn) {
  TestConnections connections({.limit = 10, .limit_per_address = 1});
  const ClientSocket asked = connections.ConnectAndAsk();
  EXPECT_TRUE(connections.Connect().IsClosedByPeer());
  EXPECT_TRUE(asked.IsOpen());
  EXPECT_EQ(connections.refused(ConnectionRefusal::kAddressLimit), 1);
}

TEST(ConnectionsTest, FloodOfSilentConnectionsLetsGoodOnesIn) {
  TestConnections connections({.limit = 8});
  std::vector<ClientSocket> flood;
  for (int i = 0; i < 200; ++i) flood.push_back(connections.Connect());
  connections.WaitForServed(200);
  const ClientSocket good = connections.ConnectAndAsk();
  for (int i = 0; i < 200; ++i) flood.push_back(connections.Connect());
  connections.WaitForServed(401);
  EXPECT_TRUE(good.IsOpen());
  EXPECT_LE(connections.metrics().open.Value(), 8);
}

TEST(ConnectionsTest, OneThatTakesBackNearlyAllItAsksIsCut) {
  TestConnections connections;
  const ClientSocket bad = connections.ConnectAndAsk(), fickle = connections.ConnectAndAsk();
  for (int i = 0; i < 50; ++i) connections->HasAsked(fickle.name(), 1);
  for (int i = 0; i < 300; ++i) {
    connections->HasTakenBack(bad.name());
    connections->HasTakenBack(fickle.name());
  }
  EXPECT_TRUE(bad.IsClosedByPeer());
  EXPECT_TRUE(fickle.IsOpen());
  EXPECT_EQ(connections.metrics().cut_total(ConnectionCut::kTakesBack).Value(), 1);
}

TEST(ConnectionsTest, AddressOfOneThatWasCutForWhatItDidIsRefused) {
  TestConnections connections;
  const ClientSocket bad = connections.ConnectAndAsk(), good = connections.ConnectAndAsk();
  for (int i = 0; i < 300; ++i) connections->HasTakenBack(bad.name());
  EXPECT_TRUE(connections.Connect().IsClosedByPeer());
  EXPECT_TRUE(good.IsOpen());
  EXPECT_EQ(connections.refused(ConnectionRefusal::kAddressWasCut), 1);
}

TEST(ConnectionsTest, AddressThatSendsALotForNothingIsRefused) {
  TestConnections connections;
  const ClientSocket good = connections.ConnectAndAsk();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(connections.refused(ConnectionRefusal::kAddressWasCut), 0);
    ClientSocket bad = connections.Connect();
    bad.Send(std::string(2 << 20, 'x'));
    bad.Close();
    connections.WaitForServed(i + 2);
    connections.WaitForOpen(1);
  }
  EXPECT_TRUE(connections.Connect().IsClosedByPeer());
  EXPECT_TRUE(good.IsOpen());
  EXPECT_EQ(connections.refused(ConnectionRefusal::kAddressWasCut), 1);
}

TEST(ConnectionsTest, AddressThatManyShareIsNotRefused) {
  TestConnections connections({.limit = 10, .limit_per_address = 10});
  const ClientSocket bad = connections.ConnectAndAsk();
  for (int i = 0; i < 300; ++i) connections->HasTakenBack(bad.name());
  EXPECT_TRUE(bad.IsClosedByPeer());
  const ClientSocket other = connections.ConnectAndAsk();
  EXPECT_TRUE(other.IsOpen());
}

TEST(ConnectionsTest, OneThatKeepsItsServerBusyWithoutAskingIsCut) {
  std::array<std::atomic<int>, 3> served = {-1, -1, -1};  // and not read
  std::atomic<size_t> count = 0;
  TestConnections connections({.serve = [&](int descriptor) { served[count++] = descriptor; }});
  const auto connect = [&](size_t before) {
    ClientSocket client = connections.Connect();
    while (count == before) std::this_thread::yield();
    return client;
  };
  const ClientSocket busy = connect(0), asking = connect(1), quiet = connect(2);
  while (served[2] < 0) std::this_thread::yield();
  busy.Send("x");
  asking.Send("x");
  while (connections.metrics().cut_total(ConnectionCut::kBusy).Value() == 0) {
    connections->HasAsked(asking.name(), 1);
    std::this_thread::yield();
  }
  EXPECT_TRUE(busy.IsClosedByPeer());
  EXPECT_TRUE(asking.IsOpen());
  EXPECT_TRUE(quiet.IsOpen());
  // What it sent is not there to be read any more.
  char byte;
  EXPECT_EQ(recv(served[0], &byte, 1, MSG_DONTWAIT), 0);
  EXPECT_EQ(recv(served[1], &byte, 1, MSG_DONTWAIT), 1);
  for (const std::atomic<int>& descriptor : served) close(descriptor);
}

TEST(ConnectionsTest, WhatAProcessWithoutCpuDoesNotReadIsNoFault) {
  std::atomic<int> descriptor = -1;
  const auto keep = [&](int served) { descriptor = served; };
  TestConnections starved({.serve = keep, .process_time = [] { return absl::ZeroDuration(); }});
  const ClientSocket patient = starved.Connect();
  patient.Send("x");
  TestConnections running({.serve = [](int) {}});
  const ClientSocket busy = running.Connect();
  busy.Send("x");
  while (running.metrics().cut_total(ConnectionCut::kBusy).Value() == 0) std::this_thread::yield();
  EXPECT_TRUE(patient.IsOpen());
  close(descriptor);
}

TEST(ConnectionsTest, OneThatKeepsWhoHandsItOverIsCutAndKeepsNoOther) {
  std::atomic<int> kept = 0, others = 0;
  TestConnections connections({.serve = [&](int descriptor) {
    if (kept++ == 0) {
      fcntl(descriptor, F_SETFL, 0);  // to block
      for (char byte; recv(descriptor, &byte, 1, MSG_PEEK) > 0;) std::this_thread::yield();
    } else {
      ++others;
    }
    close(descriptor);
  }});
  const ClientSocket flood = connections.Connect();
  while (kept == 0) std::this_thread::yield();
  flood.Send("x");
  const ClientSocket other = connections.Connect();
  while (others == 0) std::this_thread::yield();
  EXPECT_TRUE(flood.IsOpen());
  EXPECT_TRUE(flood.IsClosedByPeer());
  EXPECT_EQ(connections.metrics().cut_total(ConnectionCut::kBusy).Value(), 1);
}

TEST(ConnectionsTest, WhatAnEndedOneSentIsNotRead) {
  std::atomic<int> served = -1;
  TestConnections connections({.serve = [&](int descriptor) { served = descriptor; }});
  ClientSocket client = connections.Connect();
  while (served < 0) std::this_thread::yield();
  client.Send("x");
  client.Reset();
  connections.WaitForOpen(0);
  char byte;
  EXPECT_LE(recv(served, &byte, 1, MSG_DONTWAIT), 0);
  close(served);
}

TEST(ConnectionsTest, OneThatSentMostOfTooMuchWithoutAskingIsCut) {
  TestConnections connections({.unasked_bytes = 100'000});
  const ClientSocket greedy = connections.ConnectAndAsk(), asking = connections.ConnectAndAsk(),
                     modest = connections.ConnectAndAsk();
  const std::string bytes(60'000, 'x');
  asking.Send(bytes);
  connections->HasAsked(asking.name(), std::ssize(bytes));
  modest.Send(bytes);
  greedy.Send(bytes + bytes);
  EXPECT_TRUE(greedy.IsClosedByPeer());
  EXPECT_TRUE(asking.IsOpen());
  EXPECT_TRUE(modest.IsOpen());
  EXPECT_EQ(connections.metrics().cut_total(ConnectionCut::kUnasked).Value(), 1);
}

TEST(ConnectionsTest, StopAcceptingLeavesOpenOnesAlone) {
  TestConnections connections;
  const ClientSocket open = connections.Connect();
  connections.WaitForServed(1);
  connections->StopAccepting();
  EXPECT_FALSE(connections.Connect().connected());
  EXPECT_TRUE(open.IsOpen());
}

TEST(ConnectionsTest, AcceptsAgainAfterDescriptorsRanOut) {
  std::atomic<int> stalls = 0, recoveries = 0;
  TestConnections connections({.on_stall = [&](bool stalled) { ++(stalled ? stalls : recoveries); },
                               .stall_after = absl::Milliseconds(100)});
  const ClientSocket asked = connections.ConnectAndAsk();
  std::vector<ClientSocket> late;
  for (int i = 0; i < 4; ++i) late.push_back(ClientSocket::Unconnected());
  {
    const NoDescriptors none;
    for (ClientSocket& client : late) client.Connect(connections.address());
    for (const ClientSocket& client : late) EXPECT_TRUE(client.IsClosedByPeer());
    while (stalls == 0) std::this_thread::yield();
    EXPECT_GE(connections.metrics().accept_failures_total.Value(), 4);
    EXPECT_EQ(connections.refused(ConnectionRefusal::kDescriptors), 4);
    EXPECT_EQ(recoveries, 0);
  }
  const ClientSocket next = connections.ConnectAndAsk();
  while (recoveries == 0) std::this_thread::yield();
  EXPECT_TRUE(asked.IsOpen());
  EXPECT_TRUE(next.IsOpen());
  EXPECT_EQ(stalls, 1);
}

TEST(ConnectionsTest, OldestThatAskedNothingGivesItsDescriptorsUp) {
  TestConnections connections;
  const ClientSocket silent = connections.Connect();
  connections.WaitForServed(1);
  ClientSocket late = ClientSocket::Unconnected();
  const NoDescriptors none;
  late.Connect(connections.address());
  EXPECT_TRUE(silent.IsClosedByPeer());
  connections.WaitForServed(2);
  EXPECT_TRUE(late.IsOpen());
}

TEST(ConnectionsTest, LimitFitsTheDescriptorsThatThereAre) {
  const DescriptorLimit few(64);
  TestConnections connections({.limit = 1024});
  EXPECT_LT(connections->limit(), 20);
  EXPECT_GE(connections->limit(), 1);
}

}  // namespace
}  // namespace hachi::server
