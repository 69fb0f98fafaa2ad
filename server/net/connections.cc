#include "server/net/connections.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <functional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/base/clock.h"
#include "engine/base/log.h"
#include "server/net/descriptors.h"

namespace hachi::server {
namespace {

absl::Duration ProcessTime() {
  timespec time = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return absl::DurationFromTimespec(time);
}

// Events of others than connections; those have their number.
constexpr uint64_t kListener = 0, kWake = 1, kFirstId = 2;

// Files that the process opens beside connections while it runs: models, labels, the metrics page's clients,
// and connections that were cut and whose server has not closed them yet. Guessed.
constexpr int64_t kOtherDescriptors = 24;

// How long the listener is left alone when descriptors ran out.
constexpr int kExhaustedMs = 50;

// How often it is looked how busy connections keep their server, and how often one may be found so.
constexpr int kLookEveryMs = 200;
constexpr int kBusyLooks = 15;
constexpr int kBusyLooksOfStrangers = 10;

// How long the address of a connection that was cut for what it did is refused, and of how many that is kept.
// Guessed: long enough that coming back costs more than it does here.
constexpr absl::Duration kRefused = absl::Seconds(30);
constexpr size_t kMostRefusedAddresses = 10'000;
constexpr int kMostPoints = 5;
constexpr int64_t kMostBytesForNothing = 128 << 10;

// What comes with a request beside its message, at most.
constexpr int64_t kMetadataBytes = 16384;

// Requests that a connection may take back before they are whole, and so many for each that it has asked. Who
// loses interest in uploads takes some back, an attack takes thousands. Guessed.
constexpr int64_t kMostTakenBack = 200;
constexpr int64_t kMostTakenBackOfEachAsked = 20;

// Threads that hand connections over. Guessed: as many as may be kept by what floods send until they are cut.
constexpr int kHands = 4;
constexpr absl::Duration kLastHandOver = absl::Milliseconds(100);

// Connections accepted before the ends of others are looked at.
constexpr int kAcceptsAtOnce = 64;

bool IsExhaustion(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

int64_t Bounded(int64_t limit) {
  const int64_t possible = std::max<int64_t>(1, (FreeDescriptors() - kOtherDescriptors) / 2);
  if (possible >= limit) return limit;
  LogWarning(absl::StrCat("connections: the limit on open files allows ", possible, ", expected ", limit,
                          " as configured; raise it (ulimit -n)"));
  return possible;
}

std::string Printed(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text;
  return inet_ntop(family, address, text.data(), text.size());
}

bool SomebodyWaits(int listening) {
  pollfd waits = {.fd = listening, .events = POLLIN, .revents = 0};
  return poll(&waits, 1, /*timeout=*/0) == 1;
}

// All that the connection has sent; 0 for a Unix socket, which does not say.
int64_t ReceivedBytes(int descriptor) {
  tcp_info info = {};
  socklen_t length = sizeof(info);
  if (getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return 0;
  return static_cast<int64_t>(info.tcpi_bytes_received);
}

// Takes what has come over a connection that has ended or is cut: its server would read and work through it,
// whatever its end.
void DropUnread(int descriptor) {
  constexpr size_t kAtOnce = size_t{1} << 20;
  while (recv(descriptor, nullptr, kAtOnce, MSG_DONTWAIT | MSG_TRUNC) > 0) {
  }
}

int Spare() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

Connections::Connections(std::unique_ptr<Listener> listener, Options options)
    : options_(std::move(options)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      limit_(Bounded(options_.limit)),
      spare_(Spare()),
      listener_(std::move(listener)),
      next_id_(kFirstId) {
  epoll_event event = {.events = EPOLLIN, .data = {.u64 = kWake}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
  MutexLock lock(accepting_);
  Watch(true);
}

void Connections::Start() {
  for (int i = 0; i < kHands; ++i) hands_.emplace_back([this] { HandLoop(); });
  thread_ = std::thread([this] { Loop(); });
}

void Connections::Hand(int descriptor) {
  MutexLock lock(handing_);
  to_serve_.push_back(descriptor);
  handed_.NotifyOne();
}

void Connections::HandLoop() {
  MutexLock lock(handing_);
  while (true) {
    while (to_serve_.empty() && !ending_) handed_.Wait(handing_);
    if (ending_) return;
    const int descriptor = to_serve_.front();
    to_serve_.pop_front();
    ++serving_;
    handing_.unlock();
    options_.serve(descriptor);
    handing_.lock();
    --serving_;
    if (ending_) handed_.NotifyAll();
  }
}

Connections::~Connections() {
  StopAccepting();
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
  if (thread_.joinable()) thread_.join();
  for (std::thread& hand : hands_) hand.join();
  MutexLock lock(mutex_);
  while (!connections_.empty()) Forget(connections_.begin()->first);
  for (const int descriptor : {spare_, wake_, epoll_})
    if (descriptor >= 0) close(descriptor);
}

void Connections::StopAccepting() {
  {
    MutexLock lock(accepting_);
    listener_->Close();
  }
  MutexLock lock(handing_);
  ending_ = true;
  handed_.NotifyAll();
  for (const int descriptor : to_serve_) close(descriptor);
  to_serve_.clear();
  // Those that are being handed over are there when their server ends, unless a flood keeps who does it.
  const absl::Time until = Clock::Real().Now() + kLastHandOver;
  while (serving_ > 0 && Clock::Real().Now() < until)
    handed_.WaitFor(handing_, absl::ToChronoNanoseconds(until - Clock::Real().Now()));
}

void Connections::HasAsked(std::string_view client, int64_t bytes) {
  MutexLock lock(mutex_);
  const auto found = by_client_.find(client);
  if (found == by_client_.end()) return;
  Connection& connection = connections_.at(found->second);
  connection.asked_bytes += bytes + kMetadataBytes;
  if (++connection.asked == 1) strangers_.erase(connection.place);
}

void Connections::HasTakenBack(std::string_view client) {
  MutexLock lock(mutex_);
  const auto found = by_client_.find(client);
  if (found == by_client_.end()) return;
  Connection& connection = connections_.at(found->second);
  if (++connection.taken_back > kMostTakenBack &&
      connection.taken_back / kMostTakenBackOfEachAsked > connection.asked)
    Cut(found->second, ConnectionCut::kTakesBack);
}

void Connections::LookAround() {
  MutexLock lock(mutex_);
  const absl::Time now = Clock::Real().Now();
  const absl::Duration passed = now - std::exchange(looked_, now),
                       total = options_.process_time ? options_.process_time() : ProcessTime();
  const bool ran = total - std::exchange(process_time_, total) >= passed / 4;
  std::erase_if(conduct_by_address_, [&](const auto& entry) { return entry.second.until <= now; });
  std::vector<Id> busy;
  std::vector<std::pair<int64_t, Id>> unasked;
  int64_t unasked_bytes = 0;
  for (auto& [id, connection] : connections_) {
    // A server reads what comes at once, unless it is busy with what came before.
    int unread = 0;
    ioctl(connection.descriptor, FIONREAD, &unread);
    const bool asked = std::exchange(connection.asked_before, connection.asked) != connection.asked;
    connection.busy_looks = unread > 0 && !asked ? connection.busy_looks + ran : 0;
    if (connection.busy_looks > (connection.asked > 0 ? kBusyLooks : kBusyLooksOfStrangers))
      busy.push_back(id);

    const int64_t received = ReceivedBytes(connection.descriptor);
    connection.asked_bytes = std::min(connection.asked_bytes, received);
    unasked.emplace_back(received - connection.asked_bytes, id);
    unasked_bytes += unasked.back().first;
  }
  if (unasked_bytes > options_.unasked_bytes) std::ranges::sort(unasked, std::greater());
  for (const auto& [bytes, id] : unasked) {
    if (unasked_bytes <= options_.unasked_bytes) break;
    unasked_bytes -= bytes;
    Cut(id, ConnectionCut::kUnasked);
  }
  for (const Id id : busy)
    if (connections_.contains(id)) Cut(id, ConnectionCut::kBusy);
}

void Connections::Blame(const std::string& address, int points) {
  if (address.empty() || options_.limit_per_address >= options_.limit ||
      conduct_by_address_.size() >= kMostRefusedAddresses)
    return;
  Conduct& conduct = conduct_by_address_[address];
  conduct.points += points;
  conduct.until = Clock::Real().Now() + kRefused;
}

// A connection has ended by itself.
void Connections::SeeEnd(Id id) {
  MutexLock lock(mutex_);
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;  // it was cut, and its end was on the way
  const Connection& connection = found->second;
  if (connection.asked == 0 && ReceivedBytes(connection.descriptor) > kMostBytesForNothing)
    Blame(connection.address, 1);
  DropUnread(connection.descriptor);
  Forget(id);
}

void Connections::Cut(Id id, ConnectionCut why) {
  if (why != ConnectionCut::kMadeRoom) Blame(connections_.at(id).address, kMostPoints);
  options_.metrics->cut_total(why).Increment();
  shutdown(connections_.at(id).descriptor, SHUT_RDWR);
  DropUnread(connections_.at(id).descriptor);
  Forget(id);
}

void Connections::Loop() {
  std::array<epoll_event, 64> events;
  absl::Time next_look = absl::InfinitePast();
  while (true) {
    const bool paused = exhausted_since_ != absl::InfiniteFuture();
    const int count = epoll_wait(epoll_, events.data(), events.size(), paused ? kExhaustedMs : kLookEveryMs);
    if (const absl::Time now = Clock::Real().Now(); now >= next_look) {
      next_look = now + absl::Milliseconds(kLookEveryMs);
      LookAround();
    }
    bool accept = paused;
    for (int i = 0; i < count; ++i) {
      const uint64_t id = events[static_cast<size_t>(i)].data.u64;
      if (id == kWake) return;
      if (id == kListener) {
        accept = true;
      } else {
        SeeEnd(id);
      }
    }
    if (accept) AcceptAll();
  }
}

void Connections::Watch(bool listening) {
  for (const int descriptor : listener_->descriptors()) {
    epoll_event event = {.events = EPOLLIN, .data = {.u64 = kListener}};
    epoll_ctl(epoll_, listening ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, descriptor, &event);
  }
}

void Connections::AcceptAll() {
  MutexLock lock(accepting_);
  bool exhausted = false, accepted = false;
  for (const int listening : listener_->descriptors()) {
    for (int i = 0; i < kAcceptsAtOnce; ++i) {
      const Outcome outcome = AcceptFrom(listening);
      accepted |= outcome == Outcome::kOne;
      exhausted |= outcome == Outcome::kExhausted;
      if (outcome != Outcome::kOne) break;
    }
  }
  const bool was_exhausted = exhausted_since_ != absl::InfiniteFuture();
  if (exhausted && !was_exhausted) {
    // Left to itself, the listener would wake this thread at once and again.
    Watch(false);
    exhausted_since_ = Clock::Real().Now();
    LogWarning("connections: the process may open no more files, new connections are refused");
  } else if (!exhausted && was_exhausted) {
    Watch(true);
    exhausted_since_ = absl::InfiniteFuture();
    LogInfo("connections: accepted again");
  } else if (accepted && was_exhausted) {
    exhausted_since_ = Clock::Real().Now();  // some are
  }
  ReportStall(exhausted);
}

void Connections::ReportStall(bool exhausted) {
  const bool stalled = exhausted && Clock::Real().Now() - exhausted_since_ >= options_.stall_after;
  if (std::exchange(is_stalled_, stalled) != stalled && options_.on_stall) options_.on_stall(stalled);
}

Connections::Outcome Connections::AcceptFrom(int listening) {
  sockaddr_storage from = {};
  socklen_t length = sizeof(from);
  const int descriptor =
      accept4(listening, reinterpret_cast<sockaddr*>(&from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (descriptor < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) return Outcome::kNone;
    if (!IsExhaustion(errno)) return Outcome::kOne;  // this one is gone, others wait
    if (SomebodyWaits(listening)) {
      options_.metrics->accept_failures_total.Increment();
      // Either is a descriptor for the next attempt, the first once its server has closed it.
      if (!CutAnyStranger()) RefuseOneFrom(listening);
    }
    return Outcome::kExhausted;
  }
  Arrival arrival = {.descriptor = descriptor, .client = "", .address = ""};
  if (from.ss_family == AF_INET6) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(from);
    const int port = ntohs(v6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      arrival.address = Printed(AF_INET, &v6.sin6_addr.s6_addr[12]);
      arrival.client = absl::StrCat("ipv4:", arrival.address, ":", port);
    } else {
      arrival.client = absl::StrCat("ipv6:%5B", Printed(AF_INET6, &v6.sin6_addr), "%5D:", port);
      std::memset(&v6.sin6_addr.s6_addr[8], 0, 8);
      arrival.address = Printed(AF_INET6, &v6.sin6_addr);
    }
  } else if (from.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
    arrival.address = Printed(AF_INET, &v4.sin_addr);
    arrival.client = absl::StrCat("ipv4:", arrival.address, ":", ntohs(v4.sin_port));
  }
  if (!Keep(arrival)) {
    close(descriptor);
    return Outcome::kOne;
  }
  options_.metrics->accepted_total.Increment();
  Hand(descriptor);
  return Outcome::kOne;
}

void Connections::RefuseOneFrom(int listening) {
  if (spare_ >= 0) close(spare_);
  const int descriptor = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
  if (descriptor >= 0) {
    options_.metrics->refused_total(ConnectionRefusal::kDescriptors).Increment();
    close(descriptor);
  }
  spare_ = Spare();
}

bool Connections::Keep(const Arrival& arrival) {
  const auto refuse = [&](ConnectionRefusal why) {
    options_.metrics->refused_total(why).Increment();
    return false;
  };
  MutexLock lock(mutex_);
  if (const auto conduct = conduct_by_address_.find(arrival.address);
      conduct != conduct_by_address_.end() && conduct->second.points >= kMostPoints &&
      Clock::Real().Now() < conduct->second.until)
    return refuse(ConnectionRefusal::kAddressWasCut);
  if (!arrival.address.empty()) {
    const auto count = count_by_address_.find(arrival.address);
    if (count != count_by_address_.end() && count->second >= options_.limit_per_address &&
        !CutStranger([&](const Connection& stranger) { return stranger.address == arrival.address; }))
      return refuse(ConnectionRefusal::kAddressLimit);
  }
  if (std::ssize(connections_) >= limit_ && !CutStranger([](const Connection&) { return true; }))
    return refuse(ConnectionRefusal::kLimit);
  const int second = fcntl(arrival.descriptor, F_DUPFD_CLOEXEC, 0);
  if (second < 0) return refuse(ConnectionRefusal::kDescriptors);

  const Id id = next_id_++;
  strangers_.push_back(id);
  connections_[id] = {.descriptor = second,
                      .client = arrival.client,
                      .address = arrival.address,
                      .place = std::prev(strangers_.end())};
  if (!arrival.client.empty()) by_client_[arrival.client] = id;
  if (!arrival.address.empty()) ++count_by_address_[arrival.address];
  // Ends come without being asked for, and once.
  epoll_event event = {.events = EPOLLET, .data = {.u64 = id}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, second, &event);
  options_.metrics->open.Set(static_cast<double>(connections_.size()));
  return true;
}

bool Connections::CutAnyStranger() {
  MutexLock lock(mutex_);
  return CutStranger([](const Connection&) { return true; });
}

template <typename Which>
bool Connections::CutStranger(Which which) {
  const auto found = std::ranges::find_if(
      strangers_, [&](Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return which(connections_.at(id)); });
  if (found == strangers_.end()) return false;
  Cut(*found, ConnectionCut::kMadeRoom);
  return true;
}

void Connections::Forget(Id id) {
  const auto found = connections_.find(id);
  const Connection& connection = found->second;
  if (connection.asked == 0) strangers_.erase(connection.place);
  const auto by_client = by_client_.find(connection.client);
  if (by_client != by_client_.end() && by_client->second == id) by_client_.erase(by_client);
  const auto count = count_by_address_.find(connection.address);
  if (count != count_by_address_.end() && --count->second == 0) count_by_address_.erase(count);
  epoll_ctl(epoll_, EPOLL_CTL_DEL, connection.descriptor, nullptr);
  close(connection.descriptor);
  connections_.erase(found);
  options_.metrics->open.Set(static_cast<double>(connections_.size()));
}

}  // namespace hachi::server
