#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace hachi::server {

// What a GET of one path is answered with.
struct HttpPage {
  std::string status = "200 OK";
  std::string type;     // "text/html; charset=utf-8"
  std::string headers;  // more of them, each ended by "\r\n"
  std::string body;
};

// The page at a path (without its query; nothing in it is decoded); nullopt: there is none.
using HttpPages = std::function<std::optional<HttpPage>(std::string_view path)>;

}  // namespace hachi::server
