#include "server/models/model_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace hachi::server {
namespace {

using ::testing::UnorderedElementsAre;

TEST(ModelStateTest, OnlyTheOrderOfALoadIsLegal) {
  std::set<std::pair<ModelState, ModelState>> legal;
  for (const ModelState from : kModelStates)
    for (const ModelState to : kModelStates)
      if (IsLegal(from, to)) legal.insert({from, to});
  EXPECT_THAT(legal, UnorderedElementsAre(std::pair(ModelState::kWaiting, ModelState::kLoading),
                                          std::pair(ModelState::kLoading, ModelState::kReady),
                                          std::pair(ModelState::kLoading, ModelState::kFailed)));
}

TEST(ModelStateTest, EachHasItsName) {
  std::set<std::string_view> names;
  for (const ModelState state : kModelStates) names.insert(NameOf(state));
  EXPECT_THAT(names, UnorderedElementsAre("waiting", "loading", "ready", "failed"));
}

}  // namespace
}  // namespace hachi::server
