#pragma once

#include <string>

#include "server/net/http_page.h"
#include "server/status/status_facts.h"

namespace hachi::server {

// The facts as a page for people: complete in itself, without scripts, and its Content-Security-Policy lets
// nothing but its own style in. It asks for itself again every ten seconds.
HttpPage StatusHtml(const StatusFacts& facts);

}  // namespace hachi::server
