// Prints the page of a server with one model version, in which every metric and every value of a label is
// there.

#include <iostream>

#include "server/metrics/metrics.h"
#include "server/models/model_state.h"

int main() {
  hachi::server::Metrics metrics;
  const auto model = metrics.ForModel("digits", /*version=*/1);
  for (const auto state : hachi::server::kModelStates) model->SetState(NameOf(state), /*is_current=*/false);
  for (const char* precision : {"int8", "bf16", "fp32"}) model->SetLayers(precision, 1);
  const auto shadow = metrics.ForShadow("digits", /*version=*/1);
  shadow->SetDrift("image", 0);
  shadow->SetUse("stem.relu", 0, 1);
  std::cout << metrics.Text();
}
