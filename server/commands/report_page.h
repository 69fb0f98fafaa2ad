#pragma once

#include <string>
#include <string_view>

namespace hachi::server {

// ReportJson's object as a page that is complete in itself: d3, our style and script, and the facts. Asks the
// network for nothing.
std::string ReportPage(std::string_view json);

}  // namespace hachi::server
