#include "server/status/status_html.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/base/file.h"
#include "server/status/chart.h"
#include "server/status/html.h"
#include "server/status/report_file.h"

namespace hachi::server {
namespace {

constexpr char kStyle[] =
#include "status.css.inc"
    ;

// The name's character, 八.
constexpr char kMark[] =
    "<svg class=\"mark\" viewBox=\"0 0 40 40\" aria-hidden=\"true\">"
    "<path d=\"M16.5 10.5c-.5 8-3.5 14-9 18.5M21 10.5h4.5c.5 8 2.5 14 7.5 18.5\"/></svg>";

// "1 234 567".
std::string Count(int64_t count) {
  std::string digits = absl::StrCat(count);
  for (int64_t i = static_cast<int64_t>(digits.size()) - 3; i > 0; i -= 3)
    digits.insert(static_cast<size_t>(i), "\u202F");
  return digits;
}

std::string Duration(double seconds) {
  if (seconds < 1e-3) return absl::StrFormat("%.0f µs", seconds * 1e6);
  if (seconds < 1) return absl::StrFormat("%.3g ms", seconds * 1e3);
  return absl::StrFormat("%.3g s", seconds);
}

std::string Bytes(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (bytes < 1 << 20) return absl::StrFormat("%.1f KiB", size / 1024);
  if (bytes < 1 << 30) return absl::StrFormat("%.1f MiB", size / (1 << 20));
  return absl::StrFormat("%.2f GiB", size / (1 << 30));
}

std::string Fact(std::string_view name, std::string_view value) {
  return absl::StrFormat("<div><dt>%s</dt><dd>%s</dd></div>", Escaped(name), Escaped(value));
}

// A chart with what stands at its ends.
std::string Chart(std::string_view title, const std::vector<Bar>& bars, std::string_view low,
                  std::string_view high) {
  if (bars.empty()) return "";
  return absl::StrFormat(
      "<figure><figcaption>%s</figcaption>%s<div "
      "class=\"axis\"><span>%s</span><span>%s</span></div></figure>",
      Escaped(title), BarChart(bars, title), Escaped(low), Escaped(high));
}

std::string LatencyChart(const HistogramView& latency) {
  size_t first = 0, end = latency.counts.size();
  while (first < end && latency.counts[first] == 0) ++first;
  while (end > first && latency.counts[end - 1] == 0) --end;
  const auto bound = [&](size_t i) {
    return std::isinf(latency.bounds[i]) ? std::string("longer") : Duration(latency.bounds[i]);
  };
  std::vector<Bar> bars;
  for (size_t i = first; i < end; ++i)
    bars.push_back({absl::StrCat("up to ", bound(i), ": ", latency.counts[i], " requests"),
                    static_cast<double>(latency.counts[i])});
  return bars.empty()
             ? ""
             : Chart("latency of requests", bars, first == 0 ? "0" : bound(first - 1), bound(end - 1));
}

std::string BatchChart(const std::map<int64_t, int64_t>& batches) {
  std::vector<Bar> bars;
  for (const auto& [rows, count] : batches)
    bars.push_back({absl::StrCat(rows, " rows: ", count, " batches"), static_cast<double>(count)});
  return bars.empty() ? ""
                      : Chart("batches by rows", bars, absl::StrCat(batches.begin()->first),
                              absl::StrCat(batches.rbegin()->first));
}

std::string Requests(const std::map<std::string, int64_t>& by_code) {
  int64_t all = 0;
  std::string failed;
  for (const auto& [code, count] : by_code) {
    all += count;
    if (code != "OK") absl::StrAppend(&failed, failed.empty() ? "" : ", ", Count(count), " ", code);
  }
  return absl::StrFormat("%s%s", Fact("requests", Count(all)), failed.empty() ? "" : Fact("of them", failed));
}

std::string Numbers(const VersionFacts& facts) {
  const HistogramView& latency = facts.latency_seconds;
  std::string html = absl::StrCat("<dl class=\"numbers\">", Requests(facts.requests));
  if (latency.count > 0)
    absl::StrAppend(&html, Fact("p50", Duration(latency.Quantile(0.5))),
                    Fact("p99", Duration(latency.Quantile(0.99))));
  return absl::StrCat(html, Fact("waiting", Count(facts.queue_rows)), "</dl>", "<div class=\"charts\">",
                      LatencyChart(latency), BatchChart(facts.batches), "</div>");
}

std::string Share(double ratio) { return absl::StrFormat("%.1f %%", 100 * ratio); }

std::string Loaded(const LoadedFacts& model, double load_seconds) {
  std::string layers;
  for (const auto& [precision, count] : model.layers_by_precision)
    absl::StrAppend(&layers, layers.empty() ? "" : ", ", count, " ", precision);
  const std::string share = absl::StrCat(Share(model.int8_mac_ratio), " of multiply-adds in INT8");
  std::string html = absl::StrCat(
      "<p class=\"share\"><b>", Escaped(model.precision), "</b> ", Escaped(share), "</p>",
      Meter(model.int8_mac_ratio, share), "<dl class=\"facts\">", Fact("instructions", model.isa),
      Fact("on VNNI kernels", Share(model.vnni_mac_ratio)), Fact("steps", layers),
      Fact("weights", Bytes(model.weights_bytes)), Fact("working memory", Bytes(model.arena_bytes)),
      Fact("loaded in", Duration(load_seconds)));
  if (model.reference_steps > 0) absl::StrAppend(&html, Fact("slow steps", Count(model.reference_steps)));
  if (!model.why_not_batched.empty())
    absl::StrAppend(&html, Fact("requests run alone", model.why_not_batched));
  return html + "</dl>";
}

std::string Guarded(const GuardFacts& guard) {
  constexpr size_t kShown = 10;
  std::string layers;
  for (size_t i = 0; i < std::min(kShown, guard.layers.size()); ++i)
    absl::StrAppend(&layers, layers.empty() ? "" : ", ", guard.layers[i]);
  if (guard.layers.size() > kShown) absl::StrAppend(&layers, " and ", guard.layers.size() - kShown, " more");
  const std::string what = guard.result == "passed"
                               ? absl::StrCat("passed, ", Share(guard.drop), " lost")
                               : absl::StrCat(guard.result, ", ", Share(guard.drop), " lost in INT8, ",
                                              Share(guard.served_drop), " as served");
  return absl::StrCat("<dl class=\"facts guard\">", Fact(absl::StrCat("guard (", guard.metric, ")"), what),
                      layers.empty() ? "" : Fact("layers that lose most", layers), "</dl>");
}

std::string Card(const VersionFacts& facts) {
  std::string html = absl::StrFormat(
      "<article class=\"%1$s\"><header><h2>%2$s</h2><span class=\"version\">version %3$d</span>"
      "<span class=\"state\">%1$s</span></header>",
      Escaped(facts.state), Escaped(facts.name), facts.version);
  if (!facts.reason.empty()) absl::StrAppend(&html, "<p class=\"reason\">", Escaped(facts.reason), "</p>");
  if (facts.model) absl::StrAppend(&html, Loaded(*facts.model, facts.load_seconds));
  if (facts.guard) absl::StrAppend(&html, Guarded(*facts.guard));
  if (facts.model || !facts.requests.empty()) absl::StrAppend(&html, Numbers(facts));
  if (facts.has_report)
    absl::StrAppend(&html, "<p><a class=\"report\" href=\"", Escaped(ReportPath(facts.name, facts.version)),
                    "\">report of this model</a></p>");
  return html + "</article>\n";
}

// Lets in what the page needs: this style.
std::string SecurityHeaders() {
  const absl::StatusOr<std::string> digest = Sha256Of(kStyle, {});
  return absl::StrCat("Content-Security-Policy: default-src 'none'; style-src 'sha256-",
                      absl::Base64Escape(absl::HexStringToBytes(digest.value_or(""))),
                      "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n");
}

}  // namespace

HttpPage StatusHtml(const StatusFacts& facts) {
  static const std::string headers = SecurityHeaders();
  const auto all = static_cast<int64_t>(facts.models.size());
  std::string body = absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Hachi: ", facts.ready(),
      " of ", all, " ready</title><meta name=\"viewport\" content=\"width=device-width\">",
      "<meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"refresh\" content=\"10\">",
      "<style>", kStyle, "</style></head>\n<body><header class=\"top\">", kMark,
      "<h1>Hachi</h1><p><b id=\"ready\">", facts.ready(), " of ", all, "</b> model versions ready</p>",
      "<p>version ", Escaped(facts.version), "</p><p>", facts.cpu_budget, " cores</p></header>\n<main>\n");
  for (const VersionFacts& version : facts.models) absl::StrAppend(&body, Card(version));
  absl::StrAppend(&body, "</main><footer>Counted since each model was loaded; quantiles are those of the ",
                  "histograms. <a href=\"/status.json\">status.json</a> <a href=\"/metrics\">metrics</a>",
                  "</footer></body></html>\n");
  return {.type = "text/html; charset=utf-8", .headers = headers, .body = std::move(body)};
}

}  // namespace hachi::server
