#include "server/rpc/answers.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "engine/base/clock.h"

namespace hachi::server {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(250);

}  // namespace

Answers::Answers(const Options& options) : options_(options), thread_([this] { Loop(); }) {}

Answers::~Answers() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

Answers::Id Answers::Add(const std::string& client, int64_t bytes, std::function<void()> cancel) {
  const absl::Time until = Clock::Real().Now() + options_.time_limit;
  MutexLock lock(mutex_);
  const Id id = next_id_++;
  answers_.emplace_hint(
      answers_.end(), id,
      Answer{.client = client, .bytes = bytes, .until = until, .cancel = std::move(cancel)});
  bytes_by_client_[client] += bytes;
  bytes_ += bytes;
  options_.metrics->waiting_bytes.Set(static_cast<double>(bytes_));
  return id;
}

void Answers::Remove(Id id) {
  MutexLock lock(mutex_);
  while (being_cancelled_ == id && std::this_thread::get_id() != thread_.get_id()) changed_.Wait(mutex_);
  const auto found = answers_.find(id);
  if (found == answers_.end()) return;
  const auto of_client = bytes_by_client_.find(found->second.client);
  of_client->second -= found->second.bytes;
  if (of_client->second == 0) bytes_by_client_.erase(of_client);
  bytes_ -= found->second.bytes;
  answers_.erase(found);
  options_.metrics->waiting_bytes.Set(static_cast<double>(bytes_));
}

int64_t Answers::BytesOf(const std::string& client) const {
  MutexLock lock(mutex_);
  const auto found = bytes_by_client_.find(client);
  return found == bytes_by_client_.end() ? 0 : found->second;
}

std::map<Answers::Id, Answers::Answer>::iterator Answers::FindOverdue(absl::Time now) {
  const auto waits = [](const auto& entry) { return entry.second.cancel != nullptr; };
  const auto oldest = std::ranges::find_if(answers_, waits);
  if (oldest == answers_.end() || oldest->second.until <= now) return oldest;
  if (bytes_ <= options_.limit_bytes) return answers_.end();
  const std::string& greediest =
      std::ranges::max_element(bytes_by_client_, {}, [](const auto& entry) { return entry.second; })->first;
  return std::ranges::find_if(
      answers_, [&](const auto& entry) { return waits(entry) && entry.second.client == greediest; });
}

std::function<void()> Answers::WaitForOverdue() {
  MutexLock lock(mutex_);
  being_cancelled_ = 0;
  changed_.NotifyAll();
  while (!stopping_) {
    const auto overdue = FindOverdue(Clock::Real().Now());
    if (overdue != answers_.end()) {
      options_.metrics->cut_total.Increment();
      being_cancelled_ = overdue->first;
      return std::exchange(overdue->second.cancel, nullptr);
    }
    changed_.WaitFor(mutex_, kLookEvery);
  }
  return nullptr;
}

void Answers::Loop() {
  while (const std::function<void()> cancel = WaitForOverdue()) cancel();  // the call may end in there
}

}  // namespace hachi::server
