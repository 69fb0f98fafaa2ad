#include "server/rpc/encode.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/slice.h>

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "inference.pb.h"
#include "proto/datatype.h"

namespace hachi::server {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

// Tag and length of one raw_output_contents entry.
void AppendEntryHead(size_t bytes, std::string& out) {
  uint8_t head[20];
  uint8_t* end = CodedOutputStream::WriteTagToArray(
      WireFormatLite::MakeTag(inference::ModelInferResponse::kRawOutputContentsFieldNumber,
                              WireFormatLite::WIRETYPE_LENGTH_DELIMITED),
      head);
  end = CodedOutputStream::WriteVarint64ToArray(bytes, end);
  out.append(reinterpret_cast<const char*>(head), static_cast<size_t>(end - head));
}

grpc::Slice Reference(const std::shared_ptr<const Request>& request, std::span<const std::byte> bytes) {
  auto* owner = new std::shared_ptr<const Request>(request);
  // gRPC only reads what it sends.
  return grpc::Slice(
      const_cast<std::byte*>(bytes.data()), bytes.size(),
      [](void* held) { delete static_cast<std::shared_ptr<const Request>*>(held); }, owner);
}

}  // namespace

grpc::ByteBuffer EncodeInfer(const std::shared_ptr<const Request>& request, const std::string& id,
                             std::span<const size_t> outputs) {
  const Signature& signature = request->model->model().signature();
  const std::vector<MeasuredOutput>* measured = request->rows.measured;
  inference::ModelInferResponse response;
  response.set_model_name(request->model->name());
  response.set_model_version(absl::StrCat(request->model->version()));
  response.set_id(id);
  for (const size_t index : outputs) {
    const TensorSignature& tensor = signature.outputs[index];
    auto* output = response.add_outputs();
    output->set_name(tensor.name);
    output->set_datatype(std::string(WireName(tensor.dtype)));
    if (signature.batched) output->add_shape(request->rows.count);
    const std::vector<int64_t>& row =
        measured != nullptr ? (*measured)[index].shape : request->rows.shapes->outputs[index];
    output->mutable_shape()->Add(row.begin(), row.end());
  }

  std::vector<grpc::Slice> slices;
  std::string head = response.SerializeAsString();
  for (const size_t index : outputs) {
    const std::span<const std::byte> bytes = measured != nullptr
                                                 ? std::span<const std::byte>((*measured)[index].bytes)
                                                 : request->rows.outputs[index];
    AppendEntryHead(bytes.size(), head);
    slices.emplace_back(head);
    head.clear();
    if (!bytes.empty()) slices.push_back(Reference(request, bytes));
  }
  if (!head.empty()) slices.emplace_back(head);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace hachi::server
