#include "engine/samples/sample_set.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "engine/base/file.h"
#include "engine/base/status_macros.h"
#include "engine/samples/tensor_file.h"

namespace hachi {
namespace {

bool IsNpz(const std::filesystem::path& file) {
  return absl::AsciiStrToLower(file.extension().string()) == ".npz";
}

// What is in a folder, in the order of names.
absl::StatusOr<std::vector<std::filesystem::path>> ListFolder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> entries;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  if (error) return absl::UnavailableError(absl::StrCat("folder '", folder.string(), "': ", error.message()));
  std::sort(entries.begin(), entries.end());
  return entries;
}

bool IsSample(const std::filesystem::path& file) {
  return file.filename() != "labels.npy" && (IsNpz(file) || IsTensorFile(file));
}

// The samples in the folders of a folder, as data sets lie that have one for each class, in the order of
// names. Links to folders are not followed.
absl::StatusOr<std::vector<std::filesystem::path>> ListSubfolders(const std::filesystem::path& folder) {
  ASSIGN_OR_RETURN(std::vector<std::filesystem::path> files, FilesBeneath(folder));
  std::erase_if(files, [](const std::filesystem::path& file) { return !IsSample(file); });
  return files;
}

// N of "input_N.pb", or -1.
int InputNumber(const std::filesystem::path& file) {
  int number = -1;
  const std::string stem = file.stem().string();
  if (file.extension() != ".pb" || !absl::StartsWith(stem, "input_") ||
      !absl::SimpleAtoi(stem.substr(6), &number) || number < 0)
    return -1;
  return number;
}

absl::StatusOr<Sample> ReadTestDataSet(const std::filesystem::path& folder,
                                       const std::vector<std::string>& inputs) {
  ASSIGN_OR_RETURN(const auto files, ListFolder(folder));
  Sample sample;
  for (const auto& file : files) {
    const int number = InputNumber(file);
    if (number < 0) continue;
    if (static_cast<size_t>(number) >= inputs.size())
      return absl::InvalidArgumentError(absl::StrCat("file '", file.string(), "': the model has ",
                                                     inputs.size(), " inputs, expected a number below that"));
    ASSIGN_OR_RETURN(sample[inputs[static_cast<size_t>(number)]], ReadTensorFile(file));
  }
  for (const std::string& input : inputs)
    if (!sample.contains(input))
      return absl::InvalidArgumentError(
          absl::StrCat("folder '", folder.string(), "': no file for input '", input, "', expected one"));
  return sample;
}

absl::StatusOr<Sample> ReadArrays(const std::filesystem::path& file, const std::vector<std::string>& inputs) {
  ASSIGN_OR_RETURN(auto arrays, ReadNpz(file));
  Sample sample;
  for (size_t i = 0; i < inputs.size(); ++i) {
    auto array = arrays.find(inputs[i]);
    if (array == arrays.end()) array = arrays.find(absl::StrCat("arr_", i));
    if (array == arrays.end())
      return absl::InvalidArgumentError(absl::StrCat("file '", file.string(), "': no array for input '",
                                                     inputs[i], "', expected '", inputs[i], "' or 'arr_", i,
                                                     "'"));
    sample[inputs[i]] = std::move(array->second);
  }
  return sample;
}

}  // namespace

absl::StatusOr<SampleSet> SampleSet::Open(const std::filesystem::path& path,
                                          std::vector<std::string> inputs) {
  SampleSet set;
  set.inputs_ = std::move(inputs);
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return absl::NotFoundError(
        absl::StrCat("samples '", path.string(), "': not found, expected a file or folder"));
  if (!std::filesystem::is_directory(path, error)) {
    set.samples_ = {path};
    return set;
  }
  ASSIGN_OR_RETURN(const auto entries, ListFolder(path));
  if (std::any_of(entries.begin(), entries.end(),
                  [](const auto& entry) { return InputNumber(entry) >= 0; })) {
    set.samples_ = {path};
    return set;
  }
  std::vector<std::filesystem::path> test_data, files;
  for (const auto& entry : entries) {
    if (std::filesystem::is_directory(entry, error)) {
      if (absl::StartsWith(entry.filename().string(), "test_data_set_")) test_data.push_back(entry);
    } else if (IsSample(entry)) {
      files.push_back(entry);
    }
  }
  set.samples_ = test_data.empty() ? std::move(files) : std::move(test_data);
  if (set.samples_.empty()) {
    ASSIGN_OR_RETURN(set.samples_, ListSubfolders(path));
  }
  if (set.samples_.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("samples '", path.string(),
                     "': none found, expected .npz, .npy, .pb, .png or .jpg files or test_data_set_*"));
  return set;
}

absl::StatusOr<Sample> SampleSet::Read(size_t i) const {
  const std::filesystem::path& path = samples_[i];
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return ReadTestDataSet(path, inputs_);
  if (IsNpz(path)) return ReadArrays(path, inputs_);
  if (inputs_.size() != 1)
    return absl::InvalidArgumentError(absl::StrCat("file '", path.string(),
                                                   "' holds one tensor, the model has ", inputs_.size(),
                                                   " inputs, expected an .npz with all of them"));
  Sample sample;
  ASSIGN_OR_RETURN(sample[inputs_[0]], ReadTensorFile(path));
  return sample;
}

}  // namespace hachi
