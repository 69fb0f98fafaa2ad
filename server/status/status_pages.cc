#include "server/status/status_pages.h"

#include <string>
#include <utility>

#include "server/status/report_file.h"
#include "server/status/status_facts.h"
#include "server/status/status_html.h"
#include "server/status/status_json.h"

namespace hachi::server {
namespace {

constexpr char kHtml[] = "text/html; charset=utf-8";

// A report is somebody's file with scripts of its own: it may run them and read nothing, neither from the
// network nor of these pages.
constexpr char kReportPolicy[] =
    "Content-Security-Policy: sandbox allow-scripts allow-downloads; default-src 'none'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'\r\n";
constexpr char kForAll[] =
    "Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n";

std::optional<HttpPage> Report(const ModelRegistry& registry, std::string_view path) {
  for (const auto& version : registry.AllVersions()) {
    if (path != ReportPath(version->name(), version->version())) continue;
    absl::StatusOr<std::string> report = ReadReport(*version);
    if (!report.ok()) return std::nullopt;
    return HttpPage{.type = kHtml, .headers = kReportPolicy, .body = *std::move(report)};
  }
  return std::nullopt;
}

std::optional<HttpPage> PageAt(std::string_view path, const ModelRegistry& registry,
                               const ServerMetrics& metrics) {
  if (path == "/") return StatusHtml(GatherStatus(registry, metrics));
  if (path == "/status.json")
    return HttpPage{.type = "application/json", .body = StatusJson(GatherStatus(registry, metrics))};
  return Report(registry, path);
}

}  // namespace

void StatusPages::Show(const ModelRegistry* registry) {
  MutexLock lock(mutex_);
  registry_ = registry;
}

std::optional<HttpPage> StatusPages::Find(std::string_view path) const {
  MutexLock lock(mutex_);
  std::optional<HttpPage> page = registry_ != nullptr ? PageAt(path, *registry_, metrics_)
                                                      : HttpPage{.status = "503 Service Unavailable",
                                                                 .type = "text/plain; charset=utf-8",
                                                                 .body = "the server starts or stops\n"};
  if (page) page->headers += kForAll;
  return page;
}

}  // namespace hachi::server
