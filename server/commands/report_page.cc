#include "server/commands/report_page.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace hachi::server {
namespace {

constexpr char kBody[] =
#include "report.html.inc"
    ;
constexpr char kStyle[] =
#include "report.css.inc"
    ;
constexpr char kScript[] =
#include "report.js.inc"
    ;
constexpr char kD3[] =
#include "d3.min.js.inc"
    ;

}  // namespace

std::string ReportPage(std::string_view json) {
  // A script's element ends at "</script", wherever that stands: in names of a model's file too.
  const std::string facts = absl::StrReplaceAll({json.data(), json.size()}, {{"<", "\\u003c"}});
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Hachi: report</title>",
      "<meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light "
      "dark\">",
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src "
      "'unsafe-inline'; ",
      "style-src 'unsafe-inline'\"><style>", kStyle, "</style></head><body>\n", kBody,
      "<script type=\"application/json\" id=\"facts\">", facts, "</script>\n<script>", kD3,
      "</script>\n<script>", kScript, "</script></body></html>\n");
}

}  // namespace hachi::server
