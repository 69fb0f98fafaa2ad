#pragma once

#include <grpcpp/security/server_credentials.h>

#include <memory>

#include "server/net/certificates.h"

namespace hachi::server {

// TLS for gRPC with the certificates that are current at each handshake. With a client_ca, clients are asked
// for a certificate of it, and refused without one if `require`.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(std::shared_ptr<Certificates> certificates,
                                                        bool require);

}  // namespace hachi::server
