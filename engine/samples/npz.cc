#include <zip.h>

#include <algorithm>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/samples/tensor_file.h"

namespace hachi {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{2} << 30;  // of all arrays together, unpacked
constexpr size_t kBlock = size_t{1} << 20;

struct ZipClose {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};

// The unpacked bytes of an entry that says it has `size`. Memory grows with what is really there, and CRC and
// size are checked.
absl::StatusOr<std::string> ReadEntry(zip_t* archive, uint64_t index, uint64_t size) {
  const std::unique_ptr<zip_file_t, ZipClose> file(zip_fopen_index(archive, index, 0));
  if (file == nullptr) return absl::UnimplementedError(zip_strerror(archive));
  std::string bytes;
  for (;;) {
    const size_t old_size = bytes.size();
    const size_t block = std::min<size_t>(kBlock, size - old_size + 1);  // one more than there should be
    bytes.resize(old_size + block);
    const zip_int64_t read = zip_fread(file.get(), bytes.data() + old_size, block);
    if (read < 0) return absl::DataLossError(zip_file_strerror(file.get()));
    bytes.resize(old_size + static_cast<size_t>(read));
    if (bytes.size() > size || (read == 0 && bytes.size() < size))
      return absl::DataLossError(absl::StrCat("entry has ", bytes.size() > size ? "more" : "less",
                                              " than the ", size, " bytes it says"));
    if (read == 0) return bytes;
  }
}

absl::StatusOr<std::map<std::string, Tensor>> ReadArchive(const std::filesystem::path& path) {
  int code = 0;
  const std::unique_ptr<zip_t, ZipClose> archive(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (archive == nullptr) {
    if (code == ZIP_ER_NOENT) return absl::NotFoundError("not found, expected a file");
    return absl::DataLossError(absl::StrCat("not a zip archive (libzip error ", code, "), expected an .npz"));
  }
  std::map<std::string, Tensor> arrays;
  uint64_t total = 0;
  const zip_int64_t entries = zip_get_num_entries(archive.get(), 0);
  for (zip_int64_t i = 0; i < entries; ++i) {
    zip_stat_t stat;
    if (zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &stat) != 0 ||
        (stat.valid & (ZIP_STAT_NAME | ZIP_STAT_SIZE)) != (ZIP_STAT_NAME | ZIP_STAT_SIZE))
      return absl::DataLossError(absl::StrCat("entry ", i, " has no name or size, expected both"));
    std::string name = stat.name;
    const std::string context = absl::StrCat("entry '", name, "'");
    if (!absl::EndsWith(name, ".npy"))
      return absl::InvalidArgumentError(
          absl::StrCat(context, " is no array, expected a name that ends in .npy"));
    if (stat.size > kMaxBytes - total)
      return absl::InvalidArgumentError(absl::StrCat(context, ": the arrays unpack to more than ", kMaxBytes,
                                                     " bytes, expected at most that"));
    total += stat.size;
    auto bytes = ReadEntry(archive.get(), static_cast<uint64_t>(i), stat.size);
    if (!bytes.ok()) return WithContext(bytes.status(), context);
    auto tensor = ParseNpy(*bytes);
    if (!tensor.ok()) return WithContext(tensor.status(), context);
    name.resize(name.size() - 4);
    if (!arrays.emplace(name, *std::move(tensor)).second)
      return absl::InvalidArgumentError(absl::StrCat(context, " is there twice, expected once"));
  }
  return arrays;
}

struct SourceFree {
  void operator()(zip_source_t* source) const { zip_source_free(source); }
};
using Source = std::unique_ptr<zip_source_t, SourceFree>;

// Puts the archive of these files into `source`, an empty one in memory; false: libzip would not.
bool WriteArchive(const std::map<std::string, std::string>& files, zip_source_t* source) {
  std::unique_ptr<zip_t, ZipClose> archive(zip_open_from_source(source, ZIP_TRUNCATE, nullptr));
  if (archive == nullptr) return false;
  zip_source_keep(source);  // the archive has its own share of it
  for (const auto& [name, bytes] : files) {
    Source content(zip_source_buffer(archive.get(), bytes.data(), bytes.size(), /*freep=*/0));
    if (content == nullptr || zip_file_add(archive.get(), name.c_str(), content.get(), ZIP_FL_ENC_UTF_8) < 0)
      return false;
    content.release();
  }
  if (zip_close(archive.get()) != 0) return false;
  archive.release();
  return true;
}

// What `source` holds; false: it can't be read.
bool ReadSource(zip_source_t* source, std::string& bytes) {
  zip_stat_t stat;
  if (zip_source_stat(source, &stat) != 0 || zip_source_open(source) != 0) return false;
  bytes.resize(stat.size);
  const zip_int64_t read = zip_source_read(source, bytes.data(), bytes.size());
  return zip_source_close(source) == 0 && read == static_cast<zip_int64_t>(bytes.size());
}

}  // namespace

absl::Status WriteNpz(const std::filesystem::path& file, const std::map<std::string, Tensor>& arrays) {
  std::map<std::string, std::string> files;
  for (const auto& [name, tensor] : arrays) files[name + ".npy"] = NpyBytes(tensor.view());
  const Source source(zip_source_buffer_create(nullptr, 0, /*freep=*/0, nullptr));
  std::string bytes;
  if (source == nullptr || !WriteArchive(files, source.get()) || !ReadSource(source.get(), bytes))
    return absl::UnavailableError(absl::StrCat("file '", file.string(), "': its arrays can't be packed"));
  return WriteFile(file, bytes);
}

absl::StatusOr<std::map<std::string, Tensor>> ReadNpz(const std::filesystem::path& file) {
  auto arrays = ReadArchive(file);
  if (!arrays.ok()) return WithContext(arrays.status(), absl::StrCat("file '", file.string(), "'"));
  return arrays;
}

}  // namespace hachi
