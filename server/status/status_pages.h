#pragma once

#include <optional>
#include <string_view>

#include "engine/base/mutex.h"
#include "server/metrics/metrics.h"
#include "server/models/model_registry.h"
#include "server/net/http_page.h"

namespace hachi::server {

// What the metrics port shows people: "/", the same facts at "/status.json", and "/reports/NAME/VERSION", the
// report that lies beside a model. Read-only; nothing of the request but its path is looked at.
//
// Thread-safe.
class StatusPages {
 public:
  explicit StatusPages(const ServerMetrics& metrics) : metrics_(metrics) {}

  // What there is to show from now on; null: nothing, and every page says so. Waits for a page in the making.
  void Show(const ModelRegistry* registry);

  // As HttpPages.
  std::optional<HttpPage> Find(std::string_view path) const;

 private:
  const ServerMetrics& metrics_;
  mutable Mutex mutex_;
  const ModelRegistry* registry_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace hachi::server
