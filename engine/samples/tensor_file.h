#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tensor/tensor.h"

// Tensors in files, as tools read and write them. NOT_FOUND: no such file. DATA_LOSS: it is damaged or
// shorter than it says. INVALID_ARGUMENT: it contradicts itself or is too large. UNIMPLEMENTED: a kind of
// content that we don't read. Nothing is allocated on the word of a file.
namespace hachi {

// By extension: .npy; .pb (one ONNX TensorProto); .png, .jpg, .jpeg (u8[height,width,channels], one channel
// or three, alpha left away).
absl::StatusOr<Tensor> ReadTensorFile(const std::filesystem::path& file);

// Whether ReadTensorFile knows the extension, in capitals or not.
bool IsTensorFile(const std::filesystem::path& file);

// The arrays of a .npz by name (without ".npy").
absl::StatusOr<std::map<std::string, Tensor>> ReadNpz(const std::filesystem::path& file);

// Writes them so, packed, in one step (see WriteFile). UNAVAILABLE when the system refuses.
absl::Status WriteNpz(const std::filesystem::path& file, const std::map<std::string, Tensor>& arrays);

// NumPy's format, versions 1 to 3, little-endian or single bytes. Fortran order is transposed. bf16 is V2, as
// NumPy writes what it does not know.
absl::StatusOr<Tensor> ParseNpy(std::string_view bytes);
std::string NpyBytes(const TensorView& tensor);
absl::Status WriteNpy(const std::filesystem::path& file, const TensorView& tensor);

// The bytes of a PNG or JPEG file.
absl::StatusOr<Tensor> ParseImage(std::string_view bytes);

}  // namespace hachi
