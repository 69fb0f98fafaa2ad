#include "server/models/model_registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_model.h"
#include "tests/support/status_matchers.h"

namespace hachi::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

ModelConfig ConfigOf(const std::string& name, const std::vector<int64_t>& versions) {
  ModelConfig config;
  config.name = name;
  for (const int64_t version : versions) {
    config.versions.push_back({version, absl::StrCat(name, "/", version, "/model.onnx"), ""});
  }
  return config;
}

absl::StatusOr<std::unique_ptr<Model>> LoadFake(const LoadOptions&) { return std::make_unique<FakeModel>(); }

// A loader that fails for these files.
ModelRegistry::Loader FailingFor(const std::vector<std::string>& files) {
  return [files](const LoadOptions& options) -> absl::StatusOr<std::unique_ptr<Model>> {
    for (const std::string& file : files) {
      if (options.model == file) return absl::DataLossError(file + ": is damaged");
    }
    return std::make_unique<FakeModel>();
  };
}

// "a/1": name and version.
std::string NameOf(const ModelVersion& version) {
  return absl::StrCat(version.name(), "/", version.version());
}
std::string FoundBy(const ModelRegistry& registry, std::string_view name,
                    std::optional<int64_t> version = {}) {
  const auto handle = registry.Find(name, version);
  return handle.ok() ? NameOf(**handle) : handle.status().ToString();
}

TEST(ModelRegistryTest, BeforeTheLoadModelsAreKnownButUnavailable) {
  Metrics metrics;
  const ModelRegistry registry({.models = {ConfigOf("a", {1})}, .loader = LoadFake, .metrics = &metrics});
  EXPECT_THAT(registry.Find("a", {}), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("waiting")));
  EXPECT_THAT(registry.Find("a", 1), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("waiting")));
  EXPECT_FALSE(registry.AllReady());
}

TEST(ModelRegistryTest, UnknownModelsAndVersionsAreNotFound) {
  Metrics metrics;
  ModelRegistry registry({.models = {ConfigOf("a", {1})}, .loader = LoadFake, .metrics = &metrics});
  registry.LoadAll();
  EXPECT_THAT(registry.Find("b", {}), StatusIs(absl::StatusCode::kNotFound, HasSubstr("'b'")));
  EXPECT_THAT(registry.Find("", {}), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(registry.Find("a", 2),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("model 'a': version 2")));
  EXPECT_THAT(registry.VersionsOf("b"), StatusIs(absl::StatusCode::kNotFound));
}

TEST(ModelRegistryTest, HighestReadyVersionIsTheDefault) {
  Metrics metrics;
  ModelRegistry registry({.models = {ConfigOf("a", {1, 3, 10})},
                          .loader = FailingFor({"a/10/model.onnx"}),
                          .metrics = &metrics});
  registry.LoadAll();
  EXPECT_EQ(FoundBy(registry, "a"), "a/3");
  EXPECT_EQ(FoundBy(registry, "a", 1), "a/1");
  EXPECT_THAT(registry.Find("a", 10), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("is damaged")));
}

TEST(ModelRegistryTest, FailedLoadIsAStateAndHoldsNobodyUp) {
  Metrics metrics;
  ModelRegistry registry({.models = {ConfigOf("a", {1}), ConfigOf("b", {1})},
                          .loader = FailingFor({"a/1/model.onnx"}),
                          .metrics = &metrics});
  registry.LoadAll();
  EXPECT_THAT(registry.Find("a", {}),
              StatusIs(absl::StatusCode::kUnavailable,
                       "model 'a' version 1: failed to load: a/1/model.onnx: is damaged"));
  EXPECT_EQ(registry.AllVersions()[0]->state(), ModelState::kFailed);
  EXPECT_EQ(FoundBy(registry, "b"), "b/1");
  EXPECT_FALSE(registry.AllReady());
  EXPECT_THAT(metrics.Text(), HasSubstr("hachi_model_state{model=\"a\",state=\"failed\",version=\"1\"} 1\n"));
}

TEST(ModelRegistryTest, ListsVersionsByNameAndNumberWhateverTheirState) {
  Metrics metrics;
  ModelRegistry registry({.models = {ConfigOf("b", {2, 10}), ConfigOf("a", {1})},
                          .loader = FailingFor({"b/2/model.onnx"}),
                          .metrics = &metrics});
  registry.LoadAll();
  std::vector<std::string> all, of_b;
  for (const auto& version : registry.AllVersions()) all.push_back(NameOf(*version));
  const auto versions = registry.VersionsOf("b");
  ASSERT_OK(versions);
  for (const auto& version : *versions) of_b.push_back(NameOf(*version));
  EXPECT_THAT(all, ElementsAre("a/1", "b/2", "b/10"));
  EXPECT_THAT(of_b, ElementsAre("b/2", "b/10"));
}

TEST(ModelRegistryTest, EveryChangeIsToldInOrder) {
  Metrics metrics;
  std::vector<std::string> changes;
  ModelRegistry registry({.models = {ConfigOf("a", {1, 2})},
                          .loader = FailingFor({"a/2/model.onnx"}),
                          .metrics = &metrics,
                          .on_change = [&](const std::shared_ptr<const ModelVersion>& version) {
                            changes.push_back(absl::StrCat(NameOf(*version), " ",
                                                           std::string(server::NameOf(version->state()))));
                          }});
  registry.LoadAll();
  EXPECT_THAT(changes, ElementsAre("a/1 loading", "a/1 ready", "a/2 loading", "a/2 failed"));
}

TEST(ModelRegistryTest, LoaderGetsTheVersionsOptionsAndItsTimeIsMeasured) {
  Metrics metrics;
  FakeClock clock;
  LoadOptions seen;
  ModelRegistry registry(
      {.models = {ConfigOf("a", {7})},
       .loader = [&](const LoadOptions& options) -> absl::StatusOr<std::unique_ptr<Model>> {
         seen = options;
         clock.Advance(absl::Seconds(3));
         return std::make_unique<FakeModel>();
       },
       .threads = 5,
       .metrics = &metrics,
       .clock = &clock});
  registry.LoadAll();
  EXPECT_EQ(seen.name, "a");
  EXPECT_EQ(seen.model, "a/7/model.onnx");
  EXPECT_EQ(seen.threads, 5);
  EXPECT_EQ(registry.AllVersions()[0]->metrics().load_seconds.Value(), 3);
}

TEST(ModelRegistryTest, WhatTheGuardFoundIsAMetric) {
  Metrics metrics;
  ModelRegistry registry({.models = {ConfigOf("a", {1})},
                          .loader = [](const LoadOptions& options) -> absl::StatusOr<std::unique_ptr<Model>> {
                            options.on_guard(
                                {.result = GuardResult::kFellBack, .drop = 0.25, .layers = {"conv"}});
                            return std::make_unique<FakeModel>();
                          },
                          .metrics = &metrics});
  registry.LoadAll();
  const std::string page = metrics.Text();
  EXPECT_THAT(page,
              HasSubstr("hachi_model_guard_result{model=\"a\",result=\"fell_back\",version=\"1\"} 1\n"));
  EXPECT_THAT(page, HasSubstr("hachi_model_guard_result{model=\"a\",result=\"passed\",version=\"1\"} 0\n"));
  EXPECT_THAT(page, HasSubstr("hachi_model_guard_drop_ratio{model=\"a\",version=\"1\"} 0.25\n"));
  EXPECT_THAT(page, HasSubstr("hachi_model_guard_layers{model=\"a\",version=\"1\"} 1\n"));
}

TEST(ModelRegistryTest, WithoutModelsAllAreReady) {
  Metrics metrics;
  EXPECT_TRUE(ModelRegistry({.models = {}, .loader = LoadFake, .metrics = &metrics}).AllReady());
}

TEST(ModelRegistryTest, HandleOutlivesTheRegistry) {
  Metrics metrics;
  ModelHandle handle;
  {
    ModelRegistry registry({.models = {ConfigOf("a", {1})}, .loader = LoadFake, .metrics = &metrics});
    registry.LoadAll();
    handle = *registry.Find("a", {});
  }
  EXPECT_EQ(handle->model().info().isa, "fake");
}

TEST(ModelRegistryThreadTest, RequestsFindEachVersionAsSoonAsItIsReady) {
  Metrics metrics;
  std::promise<void> load_second;
  ModelRegistry registry(
      {.models = {ConfigOf("a", {1, 2})},
       .loader = [&](const LoadOptions& options) -> absl::StatusOr<std::unique_ptr<Model>> {
         if (options.model == "a/2/model.onnx") load_second.get_future().wait();
         return std::make_unique<FakeModel>();
       },
       .metrics = &metrics});
  registry.Start();
  const auto wait_for = [&](const std::string& name) {
    while (FoundBy(registry, "a") != name) std::this_thread::yield();
    EXPECT_EQ((*registry.Find("a", {}))->model().info().isa, "fake");
  };
  wait_for("a/1");
  EXPECT_FALSE(registry.AllReady());
  load_second.set_value();
  wait_for("a/2");
  EXPECT_TRUE(registry.AllReady());
}

TEST(ModelRegistryTest, TrialThatEndsBadlyIsThatModelsFailureAlone) {
  Metrics metrics;
  Trial trial({.command = {"/bin/sh", "-c", R"([ "$1" != a/1 ] || kill -SEGV $$)", "trial"},
               .memory_bytes = int64_t{1} << 30,
               .time = absl::Seconds(30),
               .cache = {},
               .circumstances = ""});
  std::vector<std::string> loaded;
  ModelRegistry registry({.models = {ConfigOf("a", {1, 2}), ConfigOf("b", {1})},
                          .loader =
                              [&](const LoadOptions& options) {
                                loaded.push_back(options.model);
                                return LoadFake(options);
                              },
                          .trial = &trial,
                          .metrics = &metrics});
  registry.LoadAll();
  EXPECT_THAT(registry.Find("a", 1), StatusIs(absl::StatusCode::kUnavailable,
                                              HasSubstr("failed to load: first load, in a process of its "
                                                        "own: ended by signal 11")));
  EXPECT_EQ(FoundBy(registry, "a"), "a/2");
  EXPECT_EQ(FoundBy(registry, "b"), "b/1");
  EXPECT_THAT(loaded, ElementsAre("a/2/model.onnx", "b/1/model.onnx"));
}

TEST(ModelRegistryThreadTest, DestructionWaitsForTheLoadInProgress) {
  Metrics metrics;
  std::promise<void> began, go_on;
  auto registry = std::make_unique<ModelRegistry>(
      ModelRegistry::Options{.models = {ConfigOf("a", {1})},
                             .loader = [&](const LoadOptions&) -> absl::StatusOr<std::unique_ptr<Model>> {
                               began.set_value();
                               go_on.get_future().wait();
                               return std::make_unique<FakeModel>();
                             },
                             .metrics = &metrics});
  registry->Start();
  const auto version = registry->AllVersions()[0];
  began.get_future().wait();
  EXPECT_EQ(version->state(), ModelState::kLoading);
  std::thread release([&] { go_on.set_value(); });
  registry = nullptr;
  EXPECT_EQ(version->state(), ModelState::kReady);
  release.join();
}

}  // namespace
}  // namespace hachi::server
