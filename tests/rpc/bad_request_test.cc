#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <ostream>
#include <string>

#include "tests/rpc/test_server.h"

// Every way in which a request can fail to fit its model: the code and the message that it gets, and that a
// good request in flight beside it is unharmed.
namespace hachi::server {
namespace {

using ::testing::HasSubstr;
using Request = inference::ModelInferRequest;

Signature TwoInputs() {
  return {.inputs = {{"image", DType::kU8, {2, 3}}, {"bias", DType::kF32, {1}}},
          .outputs = {{"scores", DType::kF32, {2}}, {"mask", DType::kBool, {1}}},
          .batched = true};
}

// Picks rows of a table of nine.
Signature Lookup() {
  return {.inputs = {{"ids", DType::kS64, {2}, IntegerRange{-9, 8}}},
          .outputs = {{"scores", DType::kF32, {2}}},
          .batched = true};
}

void AskLookup(Request& request, std::initializer_list<int64_t> ids, bool typed) {
  request.Clear();
  request.set_model_name("lookup");
  auto* input = request.add_inputs();
  input->set_name("ids");
  input->set_datatype("INT64");
  for (const int64_t dim : {1, 2}) input->add_shape(dim);
  if (typed)
    for (const int64_t id : ids) input->mutable_contents()->add_int64_contents(id);
  else
    request.add_raw_input_contents(reinterpret_cast<const char*>(std::data(ids)), 8 * ids.size());
}

// Two rows whose bytes are 1 (image) and 0 (bias): every byte of the answer is 6.
Request GoodRequest() {
  Request request;
  request.set_model_name("two");
  request.set_id("good");
  auto* image = request.add_inputs();
  image->set_name("image");
  image->set_datatype("UINT8");
  for (const int64_t dim : {2, 2, 3}) image->add_shape(dim);
  auto* bias = request.add_inputs();
  bias->set_name("bias");
  bias->set_datatype("FP32");
  for (const int64_t dim : {2, 1}) bias->add_shape(dim);
  request.add_raw_input_contents(std::string(12, '\1'));
  request.add_raw_input_contents(std::string(8, '\0'));
  return request;
}

void AddTyped(Request& request) {
  request.clear_raw_input_contents();
  for (int i = 0; i < 12; ++i) request.mutable_inputs(0)->mutable_contents()->add_uint_contents(1);
  for (int i = 0; i < 2; ++i) request.mutable_inputs(1)->mutable_contents()->add_fp32_contents(0);
}

struct BadRequest {
  std::string name;
  std::function<void(Request&)> spoil;
  grpc::StatusCode code;
  std::string message;
};

void PrintTo(const BadRequest& bad, std::ostream* out) { *out << bad.name; }

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max() / 2;

const std::vector<BadRequest>& BadRequests() {
  static const auto& cases = *new std::vector<BadRequest>{
      {"Empty", [](Request& r) { r.Clear(); }, grpc::NOT_FOUND, "model: ''"},
      {"WrongModel", [](Request& r) { r.set_model_name("none"); }, grpc::NOT_FOUND, "model: 'none'"},
      {"FailedModel", [](Request& r) { r.set_model_name("broken"); }, grpc::UNAVAILABLE, "is damaged"},
      {"AbsentVersion", [](Request& r) { r.set_model_version("7"); }, grpc::NOT_FOUND,
       "model 'two': version 7"},
      {"UnparsableVersion", [](Request& r) { r.set_model_version("1.0"); }, grpc::INVALID_ARGUMENT,
       "model 'two': version: is '1.0', expected a number"},
      {"NegativeVersion", [](Request& r) { r.set_model_version("-1"); }, grpc::INVALID_ARGUMENT,
       "version: is '-1'"},
      {"OverflowingVersion", [](Request& r) { r.set_model_version("99999999999999999999"); },
       grpc::INVALID_ARGUMENT, "version: is '99999999999999999999'"},
      {"WrongInputName", [](Request& r) { r.mutable_inputs(0)->set_name("picture"); }, grpc::INVALID_ARGUMENT,
       "model 'two': input 'picture': unknown, expected 'image', 'bias'"},
      {"DuplicateInput",
       [](Request& r) {
         *r.mutable_inputs(1) = r.inputs(0);
         r.set_raw_input_contents(1, r.raw_input_contents(0));
       },
       grpc::INVALID_ARGUMENT, "input 'image': is given twice, expected once"},
      {"MissingInput",
       [](Request& r) {
         r.mutable_inputs()->RemoveLast();
         r.mutable_raw_input_contents()->RemoveLast();
       },
       grpc::INVALID_ARGUMENT, "input 'bias': is missing, expected 'image', 'bias'"},
      {"NoInputs",
       [](Request& r) {
         r.clear_inputs();
         r.clear_raw_input_contents();
       },
       grpc::INVALID_ARGUMENT, "input 'image': is missing"},
      {"WrongDatatype", [](Request& r) { r.mutable_inputs(0)->set_datatype("INT64"); },
       grpc::INVALID_ARGUMENT, "input 'image': datatype is 'INT64', expected 'UINT8'"},
      {"LowerCaseDatatype", [](Request& r) { r.mutable_inputs(0)->set_datatype("uint8"); },
       grpc::INVALID_ARGUMENT, "datatype is 'uint8', expected 'UINT8'"},
      {"RankTooLow", [](Request& r) { r.mutable_inputs(0)->mutable_shape()->RemoveLast(); },
       grpc::INVALID_ARGUMENT, "input 'image': shape has 2 dimensions, expected 3: [batch,2,3]"},
      {"RankTooHigh", [](Request& r) { r.mutable_inputs(0)->add_shape(1); }, grpc::INVALID_ARGUMENT,
       "input 'image': shape has 4 dimensions, expected 3"},
      {"NoShape", [](Request& r) { r.mutable_inputs(0)->clear_shape(); }, grpc::INVALID_ARGUMENT,
       "shape has 0 dimensions, expected 3"},
      {"WrongShape", [](Request& r) { r.mutable_inputs(0)->set_shape(1, 3); }, grpc::INVALID_ARGUMENT,
       "input 'image': shape is [2,3,3], expected [batch,2,3]"},
      {"NegativeDimension", [](Request& r) { r.mutable_inputs(0)->set_shape(2, -1); }, grpc::INVALID_ARGUMENT,
       "shape is [2,2,-1], expected [batch,2,3]"},
      {"OverflowingProduct",
       [](Request& r) {
         r.mutable_inputs(0)->set_shape(1, kHuge);
         r.mutable_inputs(0)->set_shape(2, kHuge);
       },
       grpc::INVALID_ARGUMENT, "expected [batch,2,3]"},
      {"OverflowingBatch", [](Request& r) { r.mutable_inputs(0)->set_shape(0, kHuge); },
       grpc::INVALID_ARGUMENT, "input 'image': batch is 4611686018427387903, expected 1 to 4"},
      {"BatchWrapsIn32Bits", [](Request& r) { r.mutable_inputs(0)->set_shape(0, (int64_t{1} << 32) + 2); },
       grpc::INVALID_ARGUMENT, "batch is 4294967298, expected 1 to 4"},
      {"TooLargeBatch",
       [](Request& r) {
         r.mutable_inputs(0)->set_shape(0, 5);
         r.set_raw_input_contents(0, std::string(30, '\1'));
       },
       grpc::INVALID_ARGUMENT, "input 'image': batch is 5, expected 1 to 4"},
      {"ZeroBatch",
       [](Request& r) {
         r.mutable_inputs(0)->set_shape(0, 0);
         r.set_raw_input_contents(0, "");
       },
       grpc::INVALID_ARGUMENT, "input 'image': batch is 0, expected 1 to 4"},
      {"NegativeBatch", [](Request& r) { r.mutable_inputs(0)->set_shape(0, -1); }, grpc::INVALID_ARGUMENT,
       "batch is -1, expected 1 to 4"},
      {"BatchesDisagree",
       [](Request& r) {
         r.mutable_inputs(1)->set_shape(0, 1);
         r.set_raw_input_contents(1, std::string(4, '\0'));
       },
       grpc::INVALID_ARGUMENT, "input 'bias': batch is 1, expected 2 as in the inputs before it"},
      {"OneByteTooFew", [](Request& r) { r.mutable_raw_input_contents(0)->pop_back(); },
       grpc::INVALID_ARGUMENT, "input 'image': has 11 bytes, expected 12 for shape [2,2,3]"},
      {"OneByteTooMany", [](Request& r) { r.mutable_raw_input_contents(0)->push_back('\0'); },
       grpc::INVALID_ARGUMENT, "input 'image': has 13 bytes, expected 12"},
      {"NoBytes", [](Request& r) { r.set_raw_input_contents(0, ""); }, grpc::INVALID_ARGUMENT,
       "input 'image': has 0 bytes, expected 12"},
      {"NeitherRawNorTyped", [](Request& r) { r.clear_raw_input_contents(); }, grpc::INVALID_ARGUMENT,
       "input 'image': has no data, expected 12 bytes"},
      {"RawAndTypedMixed", [](Request& r) { r.mutable_inputs(1)->mutable_contents()->add_fp32_contents(0); },
       grpc::INVALID_ARGUMENT, "input 'bias': has contents beside raw_input_contents"},
      {"SurplusRawEntry", [](Request& r) { r.add_raw_input_contents("x"); }, grpc::INVALID_ARGUMENT,
       "raw_input_contents has 3 entries, expected 2"},
      {"TooFewRawEntries", [](Request& r) { r.mutable_raw_input_contents()->RemoveLast(); },
       grpc::INVALID_ARGUMENT, "raw_input_contents has 1 entries, expected 2"},
      {"ManyRawEntries",
       [](Request& r) {
         for (int i = 0; i < 1024; ++i) r.add_raw_input_contents("");
       },
       grpc::INVALID_ARGUMENT, "more than 1024 entries in 'raw_input_contents'"},
      {"TypedTooShort",
       [](Request& r) {
         AddTyped(r);
         r.mutable_inputs(0)->mutable_contents()->mutable_uint_contents()->RemoveLast();
       },
       grpc::INVALID_ARGUMENT, "input 'image': uint_contents has 11 elements, expected 12"},
      {"TypedInTheWrongField",
       [](Request& r) {
         AddTyped(r);
         auto* contents = r.mutable_inputs(0)->mutable_contents();
         contents->clear_uint_contents();
         for (int i = 0; i < 12; ++i) contents->add_int64_contents(1);
       },
       grpc::INVALID_ARGUMENT,
       "input 'image': contents have 12 elements in other fields, expected all in uint_contents"},
      {"TypedOutOfRange",
       [](Request& r) {
         AddTyped(r);
         r.mutable_inputs(0)->mutable_contents()->set_uint_contents(7, 256);
       },
       grpc::INVALID_ARGUMENT, "input 'image': uint_contents[7] is 256, expected a value of UINT8"},
      {"UnknownOutput", [](Request& r) { r.add_outputs()->set_name("labels"); }, grpc::INVALID_ARGUMENT,
       "output 'labels': unknown, expected 'scores', 'mask'"},
      {"DuplicateOutput",
       [](Request& r) {
         r.add_outputs()->set_name("mask");
         r.add_outputs()->set_name("mask");
       },
       grpc::INVALID_ARGUMENT, "output 'mask': is requested twice, expected once"},
      {"Classification",
       [](Request& r) {
         r.add_outputs()->set_name("scores");
         (*r.mutable_outputs(0)->mutable_parameters())["classification"].set_int64_param(1);
       },
       grpc::UNIMPLEMENTED, "output 'scores': parameter 'classification'"},
      {"OutputInSharedMemory",
       [](Request& r) {
         r.add_outputs()->set_name("scores");
         (*r.mutable_outputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("a");
       },
       grpc::UNIMPLEMENTED, "shared memory is not offered"},
      {"InputInSharedMemory",
       [](Request& r) {
         r.mutable_raw_input_contents()->RemoveLast();
         (*r.mutable_inputs(1)->mutable_parameters())["shared_memory_region"].set_string_param("a");
       },
       grpc::UNIMPLEMENTED, "input 'bias': parameter 'shared_memory_region'"},
      {"Sequence", [](Request& r) { (*r.mutable_parameters())["sequence_id"].set_int64_param(1); },
       grpc::UNIMPLEMENTED, "parameter 'sequence_id'"},
      {"PriorityOfTheWrongType",
       [](Request& r) { (*r.mutable_parameters())["priority"].set_string_param("high"); },
       grpc::INVALID_ARGUMENT, "parameter 'priority': is string_param: \"high\", expected an integer"},
      {"NegativeTimeout", [](Request& r) { (*r.mutable_parameters())["timeout"].set_int64_param(-1); },
       grpc::INVALID_ARGUMENT, "parameter 'timeout': is int64_param: -1"},
      {"IndexBeyondTheTable",
       [](Request& r) {
         AskLookup(r, {0, 9}, /*typed=*/false);
       },
       grpc::INVALID_ARGUMENT, "model 'lookup': input 'ids': has an element 9, expected -9 to 8"},
      {"IndexBeforeTheTable",
       [](Request& r) {
         AskLookup(r, {-10, 0}, /*typed=*/true);
       },
       grpc::INVALID_ARGUMENT, "input 'ids': has an element -10, expected -9 to 8"},
      {"LongModelName", [](Request& r) { r.set_model_name(std::string(60'000, 'n')); }, grpc::NOT_FOUND,
       "nnn ..."},
      {"HugeModelName", [](Request& r) { r.set_model_name(std::string(1 << 20, 'n')); },
       grpc::INVALID_ARGUMENT, "more than 65536 bytes beside its tensors' elements"},
  };
  return cases;
}

class BadRequestTest : public ::testing::TestWithParam<BadRequest> {
 protected:
  static void SetUpTestSuite() {
    server_ = new TestServer({{.name = "two", .signature = TwoInputs()},
                              {.name = "lookup", .signature = Lookup()},
                              {.name = "broken", .signature = {}}});
  }
  static void TearDownTestSuite() { delete server_; }

  static inline TestServer* server_ = nullptr;
};

TEST_P(BadRequestTest, GetsItsStatusBesideAGoodOne) {
  FakeModel& model = server_->model("two");
  model.Block();
  grpc::ClientContext good_context;
  inference::ModelInferResponse good_response;
  const Request good_request = GoodRequest();
  std::promise<grpc::Status> good;
  const auto runs = static_cast<int64_t>(model.batch_rows().size());
  server_->stub().async()->ModelInfer(&good_context, &good_request, &good_response,
                                      [&](grpc::Status status) { good.set_value(std::move(status)); });
  model.WaitForRuns(runs + 1);

  Request bad = GoodRequest();
  GetParam().spoil(bad);
  inference::ModelInferResponse response;
  const grpc::Status status = server_->Infer(bad, &response);
  EXPECT_EQ(status.error_code(), GetParam().code);
  EXPECT_THAT(status.error_message(), HasSubstr(GetParam().message));
  EXPECT_LE(status.error_message().size(), 1100u);

  model.Unblock();
  const grpc::Status good_status = good.get_future().get();
  ASSERT_TRUE(good_status.ok()) << good_status.error_message();
  EXPECT_EQ(good_response.id(), "good");
  EXPECT_EQ(good_response.raw_output_contents(0), std::string(16, '\6'));
  EXPECT_EQ(static_cast<int64_t>(model.batch_rows().size()), runs + 1);  // the bad one never ran
}

INSTANTIATE_TEST_SUITE_P(All, BadRequestTest, ::testing::ValuesIn(BadRequests()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace hachi::server
