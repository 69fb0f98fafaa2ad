#include <array>
#include <cctype>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status_macros.h"
#include "engine/samples/tensor_file.h"

namespace hachi {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kMagic = "\x93NUMPY"sv;
constexpr size_t kMaxHeaderBytes = 10'000;  // NumPy's own limit
constexpr size_t kMaxRank = 32;             // likewise

constexpr std::array<std::pair<DType, std::string_view>, 13> kDescriptions = {{{DType::kF32, "<f4"},
                                                                               {DType::kF64, "<f8"},
                                                                               {DType::kF16, "<f2"},
                                                                               {DType::kBF16, "<V2"},
                                                                               {DType::kU8, "|u1"},
                                                                               {DType::kU16, "<u2"},
                                                                               {DType::kU32, "<u4"},
                                                                               {DType::kU64, "<u8"},
                                                                               {DType::kS8, "|i1"},
                                                                               {DType::kS16, "<i2"},
                                                                               {DType::kS32, "<i4"},
                                                                               {DType::kS64, "<i8"},
                                                                               {DType::kBool, "|b1"}}};

// The byte order says nothing about single bytes, and nothing is known about V's.
std::optional<DType> DTypeOf(std::string_view description) {
  if (description.size() != 3) return std::nullopt;
  for (const auto& [dtype, known] : kDescriptions) {
    if (description.substr(1) != known.substr(1)) continue;
    const bool any_order = SizeOf(dtype) == 1 || dtype == DType::kBF16;
    const std::string_view orders = any_order ? "<|=>" : "<=";
    return orders.find(description[0]) == std::string_view::npos ? std::nullopt : std::optional(dtype);
  }
  return std::nullopt;
}

struct Header {
  std::string description;
  bool fortran_order = false;
  Shape shape;
};

// Reads the literal of a Python dictionary with exactly the keys descr, fortran_order and shape.
class HeaderParser {
 public:
  explicit HeaderParser(std::string_view text) : text_(text) {}

  absl::StatusOr<Header> Parse() {
    Header header;
    int seen = 0;
    if (!Accept("{")) return Error("'{'");
    while (!Accept("}")) {
      ASSIGN_OR_RETURN(const std::string key, String());
      if (!Accept(":")) return Error("':'");
      if (key == "descr" && !(seen & 1)) {
        seen |= 1;
        if (Accept("["))
          return absl::UnimplementedError("npy array has structured elements, expected numbers");
        ASSIGN_OR_RETURN(header.description, String());
      } else if (key == "fortran_order" && !(seen & 2)) {
        seen |= 2;
        header.fortran_order = Accept("True");
        if (!header.fortran_order && !Accept("False")) return Error("True or False");
      } else if (key == "shape" && !(seen & 4)) {
        seen |= 4;
        ASSIGN_OR_RETURN(header.shape, Tuple());
      } else {
        return Error("the keys descr, fortran_order and shape, each once");
      }
      if (!Accept(",") && !Peek("}")) return Error("',' or '}'");
    }
    if (seen != 7) return Error("the keys descr, fortran_order and shape, each once");
    return header;
  }

 private:
  absl::Status Error(std::string_view expected) const {
    return absl::InvalidArgumentError(
        absl::StrCat("npy header: unexpected text at offset ", at_, ", expected ", std::string(expected)));
  }
  void SkipSpace() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool Peek(std::string_view token) {
    SkipSpace();
    return text_.substr(at_, token.size()) == token;
  }
  bool Accept(std::string_view token) {
    if (!Peek(token)) return false;
    at_ += token.size();
    return true;
  }
  absl::StatusOr<std::string> String() {
    SkipSpace();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    const size_t end = text_.find(quote, at_ + 1);
    if ((quote != '\'' && quote != '"') || end == std::string_view::npos) return Error("a string");
    const std::string text(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return text;
  }
  absl::StatusOr<Shape> Tuple() {
    Shape shape;
    if (!Accept("(")) return Error("'('");
    while (!Accept(")")) {
      SkipSpace();
      int64_t number = 0;
      const size_t start = at_;
      for (; at_ < text_.size() && std::isdigit(static_cast<unsigned char>(text_[at_])); ++at_)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text_[at_] - '0', &number))
          return Error("a dimension of 63 bits");
      if (at_ == start) return Error("a dimension");
      if (shape.size() == kMaxRank) return Error("at most 32 dimensions");
      shape.push_back(number);
      Accept("L");  // Python 2 wrote long integers so
      if (!Accept(",") && !Peek(")")) return Error("',' or ')'");
    }
    return shape;
  }

  std::string_view text_;
  size_t at_ = 0;
};

// Elements in Fortran order (first axis innermost) into the row-major `tensor`.
void CopyTransposed(const char* from, Tensor& tensor) {
  const Shape& shape = tensor.shape();
  if (tensor.count() == 0) return;  // its other dimensions may be too large to count in
  const size_t size = SizeOf(tensor.dtype());
  Shape index(shape.size(), 0);
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  std::byte* to = tensor.bytes().data();
  for (int64_t i = 0; i < tensor.count(); ++i, to += size) {
    int64_t offset = 0;
    for (size_t axis = 0; axis < shape.size(); ++axis) offset += index[axis] * strides[axis];
    std::memcpy(to, from + offset * static_cast<int64_t>(size), size);
    for (size_t axis = shape.size(); axis-- > 0 && ++index[axis] == shape[axis];) index[axis] = 0;
  }
}

}  // namespace

absl::StatusOr<Tensor> ParseNpy(std::string_view bytes) {
  const auto cut = [&] {
    return absl::DataLossError(absl::StrCat("npy header is cut off after ", bytes.size(), " bytes"));
  };
  if (bytes.substr(0, kMagic.size()) != kMagic.substr(0, bytes.size()))
    return absl::DataLossError("not an npy array, expected it to start with \\x93NUMPY");
  if (bytes.size() < kMagic.size() + 2) return cut();
  const int version = static_cast<unsigned char>(bytes[6]);
  if (version < 1 || version > 3)
    return absl::UnimplementedError(absl::StrCat("npy version is ", version, ", expected 1 to 3"));
  const size_t length_bytes = version == 1 ? 2 : 4;
  bytes.remove_prefix(kMagic.size() + 2);
  if (bytes.size() < length_bytes) return cut();
  size_t length = 0;
  for (size_t i = length_bytes; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  bytes.remove_prefix(length_bytes);
  if (length > kMaxHeaderBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("npy header has ", length, " bytes, expected at most ", kMaxHeaderBytes));
  if (bytes.size() < length) return cut();
  ASSIGN_OR_RETURN(const Header header, HeaderParser(bytes.substr(0, length)).Parse());
  bytes.remove_prefix(length);

  const auto dtype = DTypeOf(header.description);
  if (!dtype)
    return absl::UnimplementedError(absl::StrCat("npy element type is '", header.description,
                                                 "', expected little-endian floats, integers or bool"));
  ASSIGN_OR_RETURN(const int64_t count, CheckedCount(header.shape, SizeOf(*dtype)));
  const size_t expected = static_cast<size_t>(count) * SizeOf(*dtype);
  if (bytes.size() != expected) {
    const std::string message = absl::StrCat("npy array of shape ", ShapeText(header.shape), " has ",
                                             bytes.size(), " bytes, expected ", expected);
    return bytes.size() < expected ? absl::DataLossError(message) : absl::InvalidArgumentError(message);
  }
  Tensor tensor(*dtype, header.shape);
  if (header.fortran_order)
    CopyTransposed(bytes.data(), tensor);
  else
    std::memcpy(tensor.bytes().data(), bytes.data(), bytes.size());
  if (*dtype == DType::kBool)
    for (std::byte& element : tensor.bytes()) element = std::byte{element != std::byte{0}};
  return tensor;
}

std::string NpyBytes(const TensorView& tensor) {
  std::string_view description;
  for (const auto& [dtype, known] : kDescriptions)
    if (dtype == tensor.dtype) description = known;
  std::string header =
      absl::StrCat("{'descr': '", std::string(description), "', 'fortran_order': False, 'shape': (",
                   absl::StrJoin(tensor.shape, ", "), tensor.shape.size() == 1 ? ",)" : ")", ", }");
  const size_t before = kMagic.size() + 4;
  header.append((64 - (before + header.size() + 1) % 64) % 64, ' ');
  header += '\n';
  std::string bytes(kMagic);
  bytes += {'\x01', '\x00', static_cast<char>(header.size() & 0xFF), static_cast<char>(header.size() >> 8)};
  bytes += header;
  bytes.append(reinterpret_cast<const char*>(tensor.bytes),
               static_cast<size_t>(tensor.count()) * SizeOf(tensor.dtype));
  return bytes;
}

}  // namespace hachi
