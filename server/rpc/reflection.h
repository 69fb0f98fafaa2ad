#pragma once

#include <memory>

namespace grpc {
class Service;
}

namespace hachi::server {

// grpc.reflection.v1alpha.ServerReflection: describes itself, the inference service and gRPC's health
// service. A stream that is idle holds no thread, as gRPC's own service would have it.
std::unique_ptr<grpc::Service> NewReflectionService();

}  // namespace hachi::server
