#include "server/status/report_file.h"

#include "absl/strings/str_cat.h"
#include "engine/base/beneath.h"

namespace hachi::server {
namespace {

constexpr char kReportFile[] = "report.html";
constexpr size_t kMaxReportBytes = size_t{4} << 20;

}  // namespace

std::string ReportPath(const std::string& name, int64_t version) {
  return absl::StrCat("/reports/", name, "/", version);
}

bool HasReport(const ModelVersion& version) {
  return CheckFileBeneath(version.files().model.parent_path(), kReportFile).ok();
}

absl::StatusOr<std::string> ReadReport(const ModelVersion& version) {
  return ReadFileBeneath(version.files().model.parent_path(), kReportFile, kMaxReportBytes);
}

}  // namespace hachi::server
