#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace hachi::server {

// A server's end of a connection, in the clear or within TLS. Owns the descriptor, which does not block.
//
// Confined to one thread, where SIGPIPE is blocked or ignored.
class SocketStream {
 public:
  // In the clear without `tls`. The handshake is a part of the first reads.
  SocketStream(int descriptor, SSL_CTX* tls);
  ~SocketStream();
  SocketStream(const SocketStream&) = delete;

  int descriptor() const { return descriptor_; }

  // How many bytes were read or written; 0 at the end of the connection, whoever ended it; nothing when it
  // has to be tried again once poll(2) says `awaited`.
  std::optional<size_t> Read(std::span<char> block);
  std::optional<size_t> Write(std::string_view bytes);
  short awaited() const { return awaited_; }

  // Tells the client that no more is written.
  void EndWriting();

 private:
  struct SslFreer {
    void operator()(SSL* ssl) const;
  };

  std::optional<size_t> ResultOf(int result, short wanted);

  const int descriptor_;
  std::unique_ptr<SSL, SslFreer> ssl_;  // null: in the clear
  short awaited_;
};

}  // namespace hachi::server
