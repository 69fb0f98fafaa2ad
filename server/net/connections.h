#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/time/time.h"
#include "engine/base/mutex.h"
#include "server/metrics/metrics.h"
#include "server/net/listener.h"

namespace hachi::server {

// Accepts the connections of a listener on a thread of its own and hands them to whoever serves them, as many
// as the limits allow. That is done by a few more threads: gRPC may begin to work through what a connection
// sends before it returns, for as long as that comes.
//
// Who serves a connection owns its descriptor. A second descriptor of it stays here: through it the end is
// seen, and the connection can be cut. So the end has to be shutdown(2), as gRPC's is, or the client's. What
// a connection has sent and nobody has read by then is dropped.
//
// While all connections together have sent more than `unasked_bytes` that are part of no whole request yet,
// those that have sent most of it are cut.
//
// A connection that keeps its server busy without ever asking anything is cut: one whose bytes are not read
// as fast as they come, for three seconds (two, if it never asked anything) without a whole request, and one
// that takes back nearly all it asks. Seconds in which the process got less than a quarter of a core don't
// count: what is not read then may be no fault of who sent it. The address of one that was cut for any of
// this, or of five that ended after 128 KiB without asking anything, is refused for half a minute, unless
// limit_per_address says, by being no less than `limit`, that many clients may share one.
//
// When a limit is reached, the oldest connection that has asked nothing yet is cut for the new one; where
// all have asked, the new one is refused. When descriptors run out, waiting connections are refused until
// there are some again.
//
// Thread-safe.
class Connections {
 public:
  struct Options {
    int limit = 1024;  // at once; fewer where the process may not open as many files
    int64_t unasked_bytes = int64_t{256} << 20;
    int limit_per_address = 512;                // of an IPv4 address or an IPv6 /64; not of Unix sockets
    std::function<void(int descriptor)> serve;  // required; takes the descriptor over. On any of the few
    ConnectionMetrics* metrics = nullptr;       // required

    // Called when no connection could be accepted for `stall_after`, and when one was again. On the thread;
    // may be empty.
    std::function<void(bool stalled)> on_stall = {};
    absl::Duration stall_after = absl::Seconds(10);

    // CPU time that the process's threads have had; empty: as the system says. On the thread.
    std::function<absl::Duration()> process_time = {};
  };

  Connections(std::unique_ptr<Listener> listener, Options options);

  // Begins to accept. Once.
  void Start();

  // Leaves connections that are open to whoever serves them.
  ~Connections();

  // How many there may be at once.
  int64_t limit() const { return limit_; }

  // Nothing is accepted once it has returned. Final.
  void StopAccepting();

  // A whole request of so many bytes has come over the connection of this client, named as gRPC does:
  // "ipv4:192.0.2.1:1234".
  void HasAsked(std::string_view client, int64_t bytes);

  // A request of it was taken back before it was whole.
  void HasTakenBack(std::string_view client);

 private:
  using Id = uint64_t;
  struct Connection {
    int descriptor;
    std::string client;
    std::string address;  // what limit_per_address counts by, and what is refused; empty: nothing
    int64_t asked = 0, taken_back = 0;
    int64_t asked_bytes = 0;   // of what it sent, about: what is left is part of no whole request yet
    int64_t asked_before = 0;  // when it was last looked at
    int busy_looks = 0;  // one after the other, at which bytes waited to be read and nothing had been asked
    std::list<Id>::iterator place;  // in strangers_, until it has asked
  };
  // Of an address: refused from five points on.
  struct Conduct {
    int points;
    absl::Time until;  // then it is forgotten
  };
  // A connection that was accepted.
  struct Arrival {
    int descriptor;
    std::string client, address;
  };
  enum class Outcome { kOne, kNone, kExhausted };

  void Loop();
  void Hand(int descriptor) ABSL_LOCKS_EXCLUDED(handing_);
  void HandLoop() ABSL_LOCKS_EXCLUDED(handing_);
  void AcceptAll() ABSL_LOCKS_EXCLUDED(mutex_, accepting_);
  Outcome AcceptFrom(int listening) ABSL_EXCLUSIVE_LOCKS_REQUIRED(accepting_);
  void RefuseOneFrom(int listening) ABSL_EXCLUSIVE_LOCKS_REQUIRED(accepting_);
  void LookAround() ABSL_LOCKS_EXCLUDED(mutex_);
  void Cut(Id id, ConnectionCut why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Watch(bool listening) ABSL_EXCLUSIVE_LOCKS_REQUIRED(accepting_);
  void ReportStall(bool exhausted);

  // Keeps a second descriptor of the connection, if the limits allow.
  bool Keep(const Arrival& arrival) ABSL_LOCKS_EXCLUDED(mutex_);

  // Cuts the oldest connection that has asked nothing yet, among those of which `which` is true.
  template <typename Which>
  bool CutStranger(Which which) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool CutAnyStranger() ABSL_LOCKS_EXCLUDED(mutex_);
  void Blame(const std::string& address, int points) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void SeeEnd(Id id) ABSL_LOCKS_EXCLUDED(mutex_);
  void Forget(Id id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const int epoll_;
  const int wake_;  // an eventfd: the thread is to end
  const int64_t limit_;

  // Of the thread alone.
  int spare_;  // a descriptor to give up for refusing a connection when there are no others
  absl::Time exhausted_since_ = absl::InfiniteFuture();
  absl::Time looked_ = absl::InfiniteFuture();  // when it was last looked around, and what process_time was
  absl::Duration process_time_;
  bool is_stalled_ = false;

  Mutex accepting_;  // before mutex_
  const std::unique_ptr<Listener> listener_ ABSL_PT_GUARDED_BY(accepting_);

  Mutex mutex_;
  Id next_id_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<Id, Connection> connections_ ABSL_GUARDED_BY(mutex_);
  std::list<Id> strangers_ ABSL_GUARDED_BY(mutex_);  // have asked nothing yet, oldest first
  std::map<std::string, Id, std::less<>> by_client_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, int, std::less<>> count_by_address_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Conduct> conduct_by_address_ ABSL_GUARDED_BY(mutex_);  // where there was any bad

  Mutex handing_;  // alone
  CondVar handed_;
  std::deque<int> to_serve_ ABSL_GUARDED_BY(handing_);
  int serving_ ABSL_GUARDED_BY(handing_) = 0;  // hands that do
  bool ending_ ABSL_GUARDED_BY(handing_) = false;

  std::thread thread_;
  std::vector<std::thread> hands_;
};

}  // namespace hachi::server
