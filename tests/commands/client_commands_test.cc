#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/samples/tensor_file.h"
#include "server/commands/commands.h"
#include "server/commands/rows.h"
#include "tests/commands/run_hachi.h"
#include "tests/rpc/test_server.h"
#include "tests/support/status_matchers.h"

// `hachi infer` and `hachi load` against a whole server around a FakeModel, whose answer to a row is the sum
// of the row's bytes, in every byte.
namespace hachi::server {
namespace {

using ::testing::HasSubstr;

class ClientCommandsTest : public ::testing::Test {
 protected:
  static constexpr int64_t kRows = 6;

  ClientCommandsTest() : server_({{.name = "sum", .signature = SumSignature()}}) {
    Tensor rows(DType::kU8, {kRows, 2});
    Tensor sums(DType::kU8, {kRows, 3});
    for (int64_t i = 0; i < kRows; ++i) {
      rows.As<uint8_t>()[static_cast<size_t>(2 * i)] = static_cast<uint8_t>(10 * i);
      rows.As<uint8_t>()[static_cast<size_t>(2 * i + 1)] = 1;
      for (int64_t k = 0; k < 3; ++k)
        sums.As<uint8_t>()[static_cast<size_t>(3 * i + k)] = static_cast<uint8_t>(10 * i + 1);
    }
    EXPECT_OK(WriteNpy(input_, rows.view()));
    EXPECT_OK(WriteNpy(expected_, sums.view()));
  }

  static Signature SumSignature() {
    return {.inputs = {{"x", DType::kU8, {2}}}, .outputs = {{"y", DType::kU8, {3}}}, .batched = true};
  }

  Outcome Hachi(const std::vector<std::string>& arguments) {
    return RunHachi({kInferCommand, kLoadCommand}, arguments);
  }

  Outcome Infer(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"infer", "--address", server_.server().address(), "--model", "sum"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Hachi(arguments);
  }
  Outcome Load(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"load", "--address", server_.server().address(), "--model", "sum"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Hachi(arguments);
  }

  TestServer server_;
  const std::string folder_ = testing::TempDir() + "/hachi-client-commands-";
  const std::string input_ = folder_ + "input.npy", expected_ = folder_ + "expected.npy";
};

TEST_F(ClientCommandsTest, InferSplitsRowsIntoBatchesAndPrintsThem) {
  const Outcome outcome = Infer({"--input", "x=" + input_});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("y u8[6,3]\n  0: 1 1 1\n  1: 11 11 11\n"));
  EXPECT_EQ(server_.model("sum").batch_rows(), (std::vector<int64_t>{4, 2}));
}

TEST_F(ClientCommandsTest, InferSavesAnswersAsLoadExpectsThem) {
  const std::string saved = folder_ + "saved.npy";
  ASSERT_EQ(Infer({"--input", "x=" + input_, "--batch", "1", "--save", "y=" + saved}).exit_code, 0);
  const auto tensor = ReadTensorFile(saved);
  ASSERT_OK(tensor);
  EXPECT_EQ(tensor->shape(), (Shape{6, 3}));
  const Outcome load = Load({"--input", "x=" + input_, "--expect", "y=" + saved, "--requests", "50",
                             "--concurrency", "2", "--batch", "4", "--json"});
  EXPECT_EQ(load.exit_code, 0) << load.error << load.out;
}

TEST_F(ClientCommandsTest, InferPrintsJsonAndAccuracy) {
  const std::string labels = folder_ + "labels.npy";
  // Every value of a row is equal, so index 0 is the largest: right in two of six.
  ASSERT_OK(WriteNpy(labels, Tensor::Of<int64_t>({kRows}, {0, 1, 2, 0, 1, 2}).view()));
  const Outcome outcome = Infer({"--input", "x=" + input_, "--labels", "y=" + labels, "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["version"], "1");
  EXPECT_EQ(json["outputs"][0]["correct"], 2);
  EXPECT_EQ(json["outputs"][0]["shape"], (std::vector<int>{6, 3}));
  EXPECT_EQ(json["outputs"][0]["data"][3], 11);
}

TEST_F(ClientCommandsTest, InferErrorsNameWhatIsWrong) {
  EXPECT_THAT(Infer({"--input", "z=" + input_}).error, HasSubstr("hachi: input 'z': unknown, expected 'x'"));
  EXPECT_THAT(Infer({"--input", input_}).error, HasSubstr("expected NAME=FILE"));
  EXPECT_THAT(Infer({"--input", "x=" + expected_}).error, HasSubstr("shape is [6,3], expected [2] or rows"));
  EXPECT_THAT(Infer({"--input", "x=/nonexistent.npy"}).error, HasSubstr("/nonexistent.npy"));
  EXPECT_THAT(Infer({"--input", "x=" + input_, "--save", "q=file.npy"}).error,
              HasSubstr("output 'q': is not in the answer"));
  EXPECT_THAT(Infer({"--input", "x=" + input_, "--output", "q"}).error, HasSubstr("output 'q': unknown"));
  EXPECT_EQ(Infer({"--input", "z=" + input_}).exit_code, 1);
}

TEST_F(ClientCommandsTest, LoadCountsRightAnswers) {
  const Outcome outcome = Load({"--input", "x=" + input_, "--expect", "y=" + expected_, "--requests", "100",
                                "--concurrency", "7", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.error << outcome.out;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["sent"], 100);
  EXPECT_EQ(json["succeeded"], 100);
  EXPECT_EQ(json["different"], 0);
  EXPECT_GT(json["throughput_per_s"], 0);
  EXPECT_GE(json["latency_ms"]["p99.9"], json["latency_ms"]["p50"]);
}

TEST_F(ClientCommandsTest, LoadFailsWhenAnAnswerDiffers) {
  Tensor wrong(DType::kU8, {kRows, 3});
  for (uint8_t& value : wrong.As<uint8_t>()) value = 1;  // right for the first row only
  ASSERT_OK(WriteNpy(expected_, wrong.view()));
  const Outcome outcome =
      Load({"--input", "x=" + input_, "--expect", "y=" + expected_, "--requests", "12", "--json"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["different"], 10);
  EXPECT_THAT(outcome.error, HasSubstr("0 of 12 requests failed and 10 answers differ"));
}

TEST_F(ClientCommandsTest, LoadFailsWhenRequestsFail) {
  server_.model("sum").FailWith(absl::InternalError("broken"));
  const Outcome outcome = Load({"--requests", "3", "--json"});
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["errors"]["INTERNAL"], 3);
}

TEST_F(ClientCommandsTest, LoadMakesInputsUpAndRunsOpenLoop) {
  const Outcome outcome = Load({"--rate", "200", "--seconds", "0.1"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.error;
  EXPECT_THAT(outcome.out, HasSubstr("sum: 20 requests of 1 rows"));
}

TEST_F(ClientCommandsTest, LoadRefusesContradictions) {
  EXPECT_EQ(Load({"--rate", "5", "--concurrency", "2"}).exit_code, 2);
  EXPECT_EQ(Load({"--concurrency", "0"}).exit_code, 2);
  EXPECT_THAT(Load({"--batch", "5"}).error, HasSubstr("--batch: is 5, expected at most 4"));
}

TEST_F(ClientCommandsTest, CommandLineErrorsAndHelp) {
  EXPECT_EQ(Hachi({}).exit_code, 2);
  EXPECT_EQ(Hachi({"brew"}).exit_code, 2);
  EXPECT_EQ(Hachi({"infer", "--model", "m"}).exit_code, 2);
  EXPECT_THAT(Hachi({"infer", "--model", "m"}).error, HasSubstr("hachi: --address is required"));
  EXPECT_EQ(Hachi({"--version"}).exit_code, 0);
  const Outcome help = Hachi({"load", "--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("--rate"));
}

TEST(TensorRowsTest, RowsComeAroundAgain) {
  const auto rows = TensorRows::Of(Tensor::Of<uint8_t>({3, 1}, {1, 2, 3}), {"x", DType::kU8, {-1, 1}}, true);
  ASSERT_OK(rows);
  EXPECT_EQ(rows->rows(), 3);
  EXPECT_EQ(rows->Bytes(2, 3), "\x03\x01\x02");
}

TEST(TensorRowsTest, OneRowNeedsNoRowDimension) {
  const auto rows = TensorRows::Of(Tensor::Of<uint8_t>({2}, {1, 2}), {"x", DType::kU8, {-1, 2}}, true);
  ASSERT_OK(rows);
  EXPECT_EQ(rows->rows(), 1);
  EXPECT_EQ(rows->Input("\x01\x02", 1).shape, (Shape{1, 2}));
}

TEST(TensorRowsTest, DatatypeMustBeTheModels) {
  EXPECT_THAT(TensorRows::Of(Tensor::Of<uint8_t>({2}, {1, 2}), {"x", DType::kF32, {-1, 2}}, true),
              StatusIs(absl::StatusCode::kInvalidArgument, "'x': datatype is u8, expected f32"));
}

}  // namespace
}  // namespace hachi::server
