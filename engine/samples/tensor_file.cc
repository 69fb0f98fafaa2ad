#include "engine/samples/tensor_file.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/onnx/import.h"

namespace hachi {
namespace {

std::string ExtensionOf(const std::filesystem::path& file) {
  return absl::AsciiStrToLower(file.extension().string());
}

bool IsImage(const std::string& extension) {
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

}  // namespace

bool IsTensorFile(const std::filesystem::path& file) {
  const std::string extension = ExtensionOf(file);
  return extension == ".npy" || extension == ".pb" || IsImage(extension);
}

absl::StatusOr<Tensor> ReadTensorFile(const std::filesystem::path& file) {
  const std::string extension = ExtensionOf(file);
  if (extension == ".pb") return ReadTensorProtoFile(file);
  const std::string context = absl::StrCat("file '", file.string(), "'");
  if (!IsTensorFile(file))
    return absl::UnimplementedError(
        absl::StrCat(context, ": extension is '", extension, "', expected .npy, .pb, .png, .jpg or .jpeg"));
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file));
  auto tensor = IsImage(extension) ? ParseImage(bytes) : ParseNpy(bytes);
  if (!tensor.ok()) return WithContext(tensor.status(), context);
  return tensor;
}

absl::Status WriteNpy(const std::filesystem::path& file, const TensorView& tensor) {
  return WriteFile(file, NpyBytes(tensor));
}

}  // namespace hachi
