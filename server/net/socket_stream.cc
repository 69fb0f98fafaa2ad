#include "server/net/socket_stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace hachi::server {

void SocketStream::SslFreer::operator()(SSL* ssl) const { SSL_free(ssl); }

SocketStream::SocketStream(int descriptor, SSL_CTX* tls) : descriptor_(descriptor), awaited_(POLLIN) {
  if (tls == nullptr) return;
  ssl_.reset(SSL_new(tls));
  SSL_set_fd(ssl_.get(), descriptor);
  SSL_set_accept_state(ssl_.get());
}

SocketStream::~SocketStream() {
  ssl_.reset();
  close(descriptor_);
}

std::optional<size_t> SocketStream::Read(std::span<char> block) {
  if (ssl_ == nullptr)
    return ResultOf(static_cast<int>(recv(descriptor_, block.data(), block.size(), MSG_DONTWAIT)), POLLIN);
  ERR_clear_error();
  return ResultOf(SSL_read(ssl_.get(), block.data(), static_cast<int>(block.size())), POLLIN);
}

std::optional<size_t> SocketStream::Write(std::string_view bytes) {
  if (ssl_ == nullptr)
    return ResultOf(
        static_cast<int>(send(descriptor_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL)),
        POLLOUT);
  ERR_clear_error();
  return ResultOf(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())), POLLOUT);
}

std::optional<size_t> SocketStream::ResultOf(int result, short wanted) {
  if (result > 0) return static_cast<size_t>(result);
  awaited_ = wanted;
  if (ssl_ == nullptr) {
    if (result < 0 && (errno == EAGAIN || errno == EINTR)) return std::nullopt;
    return 0;
  }
  // Within TLS, reading may have to write first, and the other way round.
  const int error = SSL_get_error(ssl_.get(), result);
  if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
    ERR_clear_error();
    return 0;
  }
  awaited_ = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
  return std::nullopt;
}

void SocketStream::EndWriting() {
  if (ssl_ != nullptr) SSL_shutdown(ssl_.get());
  ERR_clear_error();
  shutdown(descriptor_, SHUT_WR);
}

}  // namespace hachi::server
