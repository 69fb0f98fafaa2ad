#include "server/net/exposer.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "engine/base/clock.h"
#include "server/net/socket_stream.h"

namespace hachi::server {
namespace {

constexpr size_t kMaxClients = 16;
constexpr size_t kMaxRequestBytes = 8192;
constexpr absl::Duration kTimeToAsk = absl::Seconds(2);
constexpr absl::Duration kTimeToRead = absl::Seconds(5);

// How long new clients wait when the process may open no more files.
constexpr absl::Duration kExhausted = absl::Milliseconds(50);

std::string Response(const HttpPage& page) {
  return absl::StrCat("HTTP/1.1 ", page.status, "\r\nContent-Type: ", page.type,
                      "\r\nContent-Length: ", page.body.size(), "\r\n", page.headers,
                      "Connection: close\r\n\r\n", page.body);
}

std::string Refusal(std::string_view status) {
  return Response({.status = std::string(status),
                   .type = "text/plain; charset=utf-8",
                   .body = absl::StrCat(std::string(status), "\n")});
}

// Answers for the clients that ask at about the same time are the same ones.
class Answers {
 public:
  Answers(const Metrics& metrics, const HttpPages& pages) : metrics_(metrics), pages_(pages) {}

  const std::string& Of(std::string_view path) {
    const auto [it, is_new] = by_path_.try_emplace(std::string(path));
    if (is_new) it->second = Make(path);
    return it->second;
  }

 private:
  std::string Make(std::string_view path) const {
    if (path == "/metrics")
      return Response({.type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics_.Text()});
    const std::optional<HttpPage> page = pages_ ? pages_(path) : std::nullopt;
    return page ? Response(*page) : Refusal("404 Not Found");
  }

  const Metrics& metrics_;
  const HttpPages& pages_;
  std::map<std::string, std::string> by_path_;
};

// What a whole request is answered with.
std::string Answer(std::string_view request, Answers& answers) {
  const std::string_view line = request.substr(0, request.find("\r\n"));
  const size_t method_end = line.find(' '), path_end = line.find(' ', method_end + 1);
  if (method_end == std::string_view::npos || path_end == std::string_view::npos ||
      !line.substr(path_end + 1).starts_with("HTTP/1."))
    return Refusal("400 Bad Request");
  const std::string_view method = line.substr(0, method_end);
  if (method != "GET" && method != "HEAD") return Refusal("405 Method Not Allowed");
  const std::string_view path = line.substr(method_end + 1, path_end - method_end - 1);
  std::string answer = answers.Of(path.substr(0, path.find('?')));
  if (method == "HEAD") answer.resize(answer.find("\r\n\r\n") + 4);
  return answer;
}

// Somebody who asks for a page.
//
// Confined to the exposer's thread.
class HttpClient {
 public:
  HttpClient(int descriptor, SSL_CTX* tls, absl::Time now)
      : stream_(descriptor, tls), until_(now + kTimeToAsk) {}

  int descriptor() const { return stream_.descriptor(); }
  bool has_asked() const { return !answer_.empty(); }
  absl::Time until() const { return until_; }
  short awaited() const { return stream_.awaited(); }

  // Goes on; false when there is no more to do.
  bool Continue(absl::Time now, Answers& answers) {
    if (now >= until_) return false;
    if (!has_asked()) {
      if (!ReadOn()) return false;
      if (request_.find("\r\n\r\n") != std::string::npos)
        answer_ = Answer(request_, answers);
      else if (request_.size() >= kMaxRequestBytes)
        answer_ = Refusal("431 Request Header Fields Too Large");
      else
        return true;
      until_ = now + kTimeToRead;
    }
    return WriteOn();
  }

 private:
  // False at the end of the connection. Takes all that is there: within TLS, poll(2) knows nothing of what
  // was decrypted already.
  bool ReadOn() {
    std::array<char, 2048> block;
    while (request_.size() < kMaxRequestBytes) {
      const std::optional<size_t> got = stream_.Read(block);
      if (!got) return true;
      if (*got == 0) return false;
      request_.append(block.data(), *got);
    }
    return true;
  }

  // False once all is written, and at the end of the connection.
  bool WriteOn() {
    while (written_ < answer_.size()) {
      const std::optional<size_t> sent = stream_.Write(std::string_view(answer_).substr(written_));
      if (!sent) return true;
      if (*sent == 0) return false;
      written_ += *sent;
    }
    stream_.EndWriting();
    // Closing on bytes that were not read would take the answer back.
    ReadOn();
    return false;
  }

  SocketStream stream_;
  absl::Time until_;
  std::string request_, answer_;
  size_t written_ = 0;
};

// Everybody who asks, and who wants to.
//
// Confined to the exposer's thread.
class HttpClients {
 public:
  // `tls` may be null.
  HttpClients(const Listener& listener, int wake, TlsContexts* tls, const Metrics& metrics,
              const HttpPages& pages)
      : listener_(listener), wake_(wake), tls_(tls), metrics_(metrics), pages_(pages) {}

  void ServeUntilWoken() {
    while (Wait()) {
      const absl::Time now = Clock::Real().Now();
      Answers answers(metrics_, pages_);
      for (auto it = clients_.begin(); it != clients_.end();)
        it = (*it).Continue(now, answers) ? std::next(it) : clients_.erase(it);
      if (now >= accept_from_)
        for (const int listening : listener_.descriptors()) AcceptFrom(listening, now);
    }
  }

 private:
  // Until there is something to do; false when that is to end.
  bool Wait() {
    const absl::Time now = Clock::Real().Now();
    absl::Time until = absl::InfiniteFuture();
    std::vector<pollfd> polled = {{.fd = wake_, .events = POLLIN, .revents = 0}};
    for (const HttpClient& client : clients_) {
      polled.push_back({.fd = client.descriptor(), .events = client.awaited(), .revents = 0});
      until = std::min(until, client.until());
    }
    if (now >= accept_from_)
      for (const int listening : listener_.descriptors())
        polled.push_back({.fd = listening, .events = POLLIN, .revents = 0});
    else
      until = std::min(until, accept_from_);
    const int milliseconds =
        until == absl::InfiniteFuture()
            ? -1
            : static_cast<int>(absl::ToInt64Milliseconds(std::max(until - now, absl::ZeroDuration()))) + 1;
    poll(polled.data(), polled.size(), milliseconds);
    return polled[0].revents == 0;
  }

  void AcceptFrom(int listening, absl::Time now) {
    for (size_t i = 0; i < kMaxClients; ++i) {
      const int descriptor = accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
          accept_from_ = now + kExhausted;
        return;
      }
      if (clients_.size() == kMaxClients) {
        const auto silent = std::ranges::find_if_not(clients_, &HttpClient::has_asked);
        clients_.erase(silent != clients_.end() ? silent : clients_.begin());
      }
      clients_.emplace_back(descriptor, tls_ != nullptr ? tls_->Current() : nullptr, now);
    }
  }

  const Listener& listener_;
  const int wake_;
  TlsContexts* const tls_;
  const Metrics& metrics_;
  const HttpPages& pages_;
  absl::Time accept_from_ = absl::InfinitePast();
  std::list<HttpClient> clients_;  // in the order in which they came
};

}  // namespace

absl::StatusOr<std::unique_ptr<Exposer>> Exposer::Create(const std::string& address, const Metrics& metrics,
                                                         std::unique_ptr<TlsContexts> tls, HttpPages pages) {
  absl::StatusOr<std::unique_ptr<Listener>> listener = Listener::Open(address);
  if (!listener.ok())
    return absl::UnavailableError(absl::StrCat("metrics address '", address,
                                               "': cannot listen there: ", listener.status().message(),
                                               ", expected a free host:port of this machine or unix:/path"));
  return std::unique_ptr<Exposer>(
      new Exposer(*std::move(listener), std::move(tls), metrics, std::move(pages)));
}

Exposer::Exposer(std::unique_ptr<Listener> listener, std::unique_ptr<TlsContexts> tls, const Metrics& metrics,
                 HttpPages pages)
    : pages_(std::move(pages)),
      listener_(std::move(listener)),
      tls_(std::move(tls)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this, &metrics] { Serve(metrics); }) {}

Exposer::~Exposer() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
  thread_.join();
  close(wake_);
}

void Exposer::Serve(const Metrics& metrics) {
  // OpenSSL writes without a flag that would spare this thread the signal.
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  HttpClients(*listener_, wake_, tls_.get(), metrics, pages_).ServeUntilWoken();
}

}  // namespace hachi::server
