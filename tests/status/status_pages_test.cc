#include "server/status/status_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "tests/support/fake_model.h"
#include "tests/support/temp_dir.h"

namespace hachi::server {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// Versions 1 of "good" and "bad" in directories of their own; "bad" fails to load for `reason`.
class StatusPagesTest : public testing::Test {
 protected:
  StatusPagesTest()
      : registry_({.models = {ConfigOf("good"), ConfigOf("bad")},
                   .loader = [this](const LoadOptions& load) -> absl::StatusOr<std::unique_ptr<Model>> {
                     if (load.name == "bad") return absl::DataLossError(reason_);
                     if (guard_) load.on_guard(*guard_);
                     auto model = std::make_unique<FakeModel>();
                     model->set_info({.precision = Precision::kInt8,
                                      .isa = "fake",
                                      .layers_by_precision = {{"int8", 3}},
                                      .int8_mac_ratio = 0.75});
                     return model;
                   },
                   .metrics = &metrics_}) {
    pages_.Show(&registry_);
  }

  ModelConfig ConfigOf(const std::string& name) const {
    ModelConfig config{.name = name, .dir = dir_.path() / name};
    config.versions = {{.version = 1, .model = dir_.Write(name + "/1/model.onnx", ""), .table = {}}};
    return config;
  }

  // "404" where there is none.
  std::string Get(std::string_view path) const {
    const std::optional<HttpPage> page = pages_.Find(path);
    return page ? page->body : "404";
  }
  json Status() const { return json::parse(Get("/status.json")); }

  const TempDir dir_;
  std::string reason_ = "model.onnx: is damaged";
  std::optional<GuardReport> guard_;
  Metrics metrics_;
  ModelRegistry registry_;
  StatusPages pages_{metrics_.server()};
};

TEST_F(StatusPagesTest, StatesChangeAsModelsLoad) {
  EXPECT_EQ(Status()["models"][1]["state"], "waiting");
  registry_.LoadAll();
  const json status = Status();
  EXPECT_EQ(status["models"][0]["reason"], "model 'bad' version 1: failed to load: model.onnx: is damaged");
  EXPECT_EQ(status["models"][1]["model"]["int8_mac_ratio"], 0.75);
  EXPECT_THAT(Get("/"), AllOf(HasSubstr("1 of 2"), HasSubstr("75.0 % of multiply-adds in INT8")));
}

TEST_F(StatusPagesTest, WhatAGuardFoundIsSaid) {
  guard_ = {.result = GuardResult::kFellBack,
            .metric = Metric::kAccuracy,
            .drop = 0.352,
            .served_drop = 0.004,
            .layers = {"conv<3>"}};
  registry_.LoadAll();
  EXPECT_EQ(Status()["models"][1]["guard"]["layers"], json({"conv<3>"}));
  EXPECT_THAT(Get("/"), AllOf(HasSubstr("guard (accuracy)"),
                              HasSubstr("35.2 % lost in INT8, 0.4 % as served"), HasSubstr("conv&lt;3&gt;")));
}

TEST_F(StatusPagesTest, RequestsLatencyAndBatchesAreThoseCounted) {
  registry_.LoadAll();
  const ModelVersion& good = **registry_.Find("good", 1);
  good.metrics().requests_total[absl::StatusCode::kOk].Increment(1234);
  for (int i = 0; i < 100; ++i) Observe(good.metrics().request_duration_seconds, absl::Milliseconds(4));
  good.statistics().RecordBatch(8, {}, {}, absl::Now());
  const json model = Status()["models"][1];
  EXPECT_EQ(model["requests"], json({{"OK", 1234}}));
  EXPECT_NEAR(model["latency_seconds"]["p50"].get<double>(), 0.004, 1e-6);
  EXPECT_EQ(model["batches"], json({{"8", 1}}));
  EXPECT_THAT(Get("/"),
              AllOf(HasSubstr("1\u202F234"), HasSubstr("8 rows: 1 batches"), HasSubstr("<dd>4 ms")));
}

TEST_F(StatusPagesTest, TextOfFilesStaysTextAndPathsStayHere) {
  reason_ = (dir_.path() / "bad/1/model.onnx").string() + ": node '</p><script>alert(1)</script>\xFF'";
  registry_.LoadAll();
  EXPECT_THAT(Get("/"), AllOf(HasSubstr("&lt;script&gt;"), Not(HasSubstr("<script")),
                              Not(HasSubstr(dir_.path().string()))));
  EXPECT_THAT(Status()["models"][0]["reason"].get<std::string>(),
              AllOf(HasSubstr("<script>alert(1)</script>\uFFFD"), Not(HasSubstr(dir_.path().string()))));
}

TEST_F(StatusPagesTest, PagesLetNothingElseIn) {
  EXPECT_THAT(pages_.Find("/")->headers,
              AllOf(HasSubstr("default-src 'none'; style-src 'sha256-"), HasSubstr("nosniff")));
  dir_.Write("good/1/report.html", "<p>");
  EXPECT_THAT(pages_.Find("/reports/good/1")->headers,
              AllOf(HasSubstr("sandbox allow-scripts"), HasSubstr("default-src 'none'")));
}

TEST_F(StatusPagesTest, AReportIsTheOneFileBesideItsModel) {
  EXPECT_EQ(Get("/reports/good/1"), "404");
  EXPECT_TRUE(Status()["models"][1]["report"].is_null());
  dir_.Write("good/1/report.html", "a report");
  EXPECT_EQ(Status()["models"][1]["report"], "/reports/good/1");
  EXPECT_EQ(Get("/reports/good/1"), "a report");
  for (const char* path : {"/reports/good/1/", "/reports/good/01", "/reports/good/2",
                           "/reports/good/../good/1", "/reports/good/1/model.onnx", "/reports/", "/nothing"})
    EXPECT_EQ(Get(path), "404") << path;
}

TEST_F(StatusPagesTest, LinksOutFoldersAndLargeFilesAreNoReports) {
  const auto report = dir_.path() / "good/1/report.html";
  std::filesystem::create_symlink(dir_.Write("secret", "secret"), report);
  EXPECT_EQ(Get("/reports/good/1"), "404");
  std::filesystem::remove(report);
  std::filesystem::create_directory(report);
  EXPECT_EQ(Get("/reports/good/1"), "404");
  std::filesystem::remove(report);
  dir_.Write("good/1/report.html", std::string((size_t{4} << 20) + 1, 'x'));
  EXPECT_EQ(Get("/reports/good/1"), "404");
}

TEST_F(StatusPagesTest, WithoutARegistryThereIsNothingToShow) {
  pages_.Show(nullptr);
  EXPECT_EQ(pages_.Find("/")->status, "503 Service Unavailable");
}

}  // namespace
}  // namespace hachi::server
