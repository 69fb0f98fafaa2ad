#include "server/record/row_recorder.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/samples/tensor_file.h"
#include "server/record/copied_row.h"

namespace hachi::server {
namespace {

namespace fs = std::filesystem;

// Of rows that wait for the disk: no more are taken once there are as many. Guessed.
constexpr size_t kEnoughWaiting = 64;
constexpr size_t kEnoughWaitingBytes = size_t{32} << 20;

bool HasNumbersOnly(const Tensor& tensor) {
  return tensor.dtype() != DType::kF32 ||
         std::ranges::all_of(tensor.As<float>(), [](float value) { return std::isfinite(value); });
}

absl::Status MakeFolder(const fs::path& folder) {
  std::error_code error;
  if (fs::create_directories(folder, error))
    fs::permissions(folder, fs::perms::owner_all, error);  // clients' data are nobody else's
  if (error || access(folder.c_str(), W_OK | X_OK) != 0)
    return absl::UnavailableError(absl::StrCat("record: '", folder.string(), "' cannot be written to (",
                                               error ? error.message() : std::strerror(errno),
                                               "), expected a folder that Hachi's user may write"));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowRecorder>> RowRecorder::Create(Options options) {
  RETURN_IF_ERROR(MakeFolder(options.folder));
  return std::unique_ptr<RowRecorder>(new RowRecorder(std::move(options)));
}

RowRecorder::RowRecorder(Options options)
    : options_(std::move(options)), reservoir_(options_.rows, options_.seed), writer_([this] {
        while (const std::optional<Record> record = Next()) Write(*record);
      }) {}

RowRecorder::~RowRecorder() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.NotifyAll();
  writer_.join();
}

void RowRecorder::Observe(std::span<const Rows> requests) {
  for (const Rows& request : requests) {
    for (int64_t row = 0; row < request.count; ++row) {
      const std::optional<int64_t> place = Place();
      if (!place) continue;
      Record record = RecordOf(*place, request, row);
      MutexLock lock(mutex_);
      waiting_bytes_ += record.bytes;
      waiting_.push_back(std::move(record));
      changed_.NotifyOne();
    }
  }
}

std::optional<int64_t> RowRecorder::Place() {
  MutexLock lock(mutex_);
  if (waiting_.size() >= kEnoughWaiting || waiting_bytes_ >= kEnoughWaitingBytes) return std::nullopt;
  return reservoir_.Place();
}

RowRecorder::Record RowRecorder::RecordOf(int64_t place, const Rows& request, int64_t row) const {
  Record record{.place = place, .inputs = CopyOfInputs(*options_.signature, request, row)};
  for (const auto& [name, tensor] : record.inputs) record.bytes += tensor.bytes().size();
  return record;
}

std::optional<RowRecorder::Record> RowRecorder::Next() {
  MutexLock lock(mutex_);
  while (waiting_.empty() && !stopping_) changed_.Wait(mutex_);
  if (waiting_.empty()) return std::nullopt;
  Record record = std::move(waiting_.front());
  waiting_.pop_front();
  waiting_bytes_ -= record.bytes;
  return record;
}

void RowRecorder::Write(const Record& record) {
  const bool is_fit =
      std::ranges::all_of(record.inputs, [](const auto& input) { return HasNumbersOnly(input.second); });
  if (!is_fit) return;
  const absl::Status written =
      WriteNpz(options_.folder / absl::StrFormat("%06d.npz", record.place), record.inputs);
  if (written.ok()) return options_.metrics->recorded_rows_total.Increment();
  options_.metrics->record_failures_total.Increment();
  if (!std::exchange(failed_, true))
    LogWarning(absl::StrCat(options_.what, ": record: ", std::string(written.message())));
}

}  // namespace hachi::server
