// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The values a step gives: never yesterday's, never changed afterwards, and
// never an end of input that is none. Each test is named after a trap of the
// runtime.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tftrain/base/errors.h"
#include "tftrain/base/file.h"
#include "tftrain/graph/variable.h"
#include "tftrain/session/internal/step_plan.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/matchers.h"
#include "tftrain/testing/temp_dir.h"

namespace tftrain {
namespace {

using ::tensorflow::Output;
using ::tensorflow::RunOptions;
using ::tensorflow::Scope;
using ::tensorflow::Tensor;
using ::testing::HasSubstr;
using ::testing::Not;

namespace ops = ::tensorflow::ops;

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

class SessionValuesTest : public testing::Test {
 protected:
  std::shared_ptr<Session> Open() {
    auto session = Session::Create(graph_);
    EXPECT_THAT(session, IsOk());
    return *std::move(session);
  }

  // Makes "if_true:0" and "if_false:0", of which "condition:0" chooses one.
  void AddBranches() {
    const auto condition =
        ops::Placeholder(scope_.WithOpName("condition"), tensorflow::DT_BOOL);
    const auto branches =
        ops::Switch(scope_, ops::Const(scope_, 5.0f), condition);
    ops::Neg(scope_.WithOpName("if_true"), branches.output_true);
    ops::Neg(scope_.WithOpName("if_false"), branches.output_false);
  }

  // Makes a queue with "enqueue", "dequeue" and "close".
  void AddQueue() {
    const auto queue =
        ops::FIFOQueue(scope_.WithOpName("queue"), {tensorflow::DT_FLOAT},
                       ops::FIFOQueue::Shapes({tensorflow::TensorShape({})}));
    ops::QueueEnqueue(scope_.WithOpName("enqueue"), queue,
                      {Output(ops::Const(scope_, 1.0f))});
    ops::QueueDequeue(scope_.WithOpName("dequeue"), queue,
                      {tensorflow::DT_FLOAT});
    ops::QueueClose(scope_.WithOpName("close"), queue);
  }

  const GraphPtr graph_ = Graph::Create();
  const Scope scope_ = graph_->scope();
  const RunOptions options_;
};

const auto kHasNoValue = StatusIs(kInvalid, HasSubstr("\"if_true:0\" has no"));

TEST_F(SessionValuesTest, DeadFetchIsAnError) {
  AddBranches();
  const auto session = Open();
  const Fetch<float> if_true("if_true:0");
  ASSERT_THAT(session->Run(if_true, {{"condition:0", true}}),
              IsOkAndHolds(-5.0f));

  EXPECT_THAT(session->Run(if_true, {{"condition:0", false}}), kHasNoValue);
  EXPECT_THAT(session->Run(if_true, {{"condition:0", false}}, &options_),
              StatusIs(kInvalid));
}

TEST_F(SessionValuesTest, DeadFetchIsAnErrorInAPreparedStep) {
  AddBranches();
  const auto session = Open();
  const auto step =
      session->Prepare(Fetch<float>("if_true:0"), {"condition:0"});
  ASSERT_THAT(step, IsOk());

  EXPECT_THAT((*step)(true), IsOkAndHolds(-5.0f));
  EXPECT_THAT((*step)(false), kHasNoValue);
  EXPECT_THAT((*step)(true), IsOkAndHolds(-5.0f));
}

TEST_F(SessionValuesTest, DeadFetchIsNeverYesterdaysValue) {
  AddBranches();
  const auto session = Open();
  const RequestPtr request =
      session->Intern(MakeRequest(Fetch<float>("if_true:0"), {"condition:0"}));
  internal::StepBuffers buffers;
  const FeedValue taken[] = {true};
  const FeedValue not_taken[] = {false};

  ASSERT_THAT(
      session->RunParts({{&request, taken}}, nullptr, nullptr, &buffers),
      IsOk());
  EXPECT_EQ(buffers.Values(0)[0].scalar<float>()(), -5.0f);
  EXPECT_THAT(
      session->RunParts({{&request, not_taken}}, nullptr, nullptr, &buffers),
      kHasNoValue);
}

TEST_F(SessionValuesTest, FailedStepLeavesNoValuesOfTheFormer) {
  AddQueue();
  const auto session = Open();
  const RequestPtr request =
      session->Intern(MakeRequest(Fetch<float>("dequeue:0")));
  internal::StepBuffers buffers;
  ASSERT_THAT(session->Run(Target("enqueue")), IsOk());
  ASSERT_THAT(session->Run(Target("close")), IsOk());
  ASSERT_THAT(session->RunParts({{&request, {}}}, nullptr, nullptr, &buffers),
              IsOk());

  ASSERT_THAT(session->RunParts({{&request, {}}}, nullptr, nullptr, &buffers),
              StatusIs(absl::StatusCode::kOutOfRange));

  EXPECT_EQ(buffers.Values(0)[0].dtype(), tensorflow::DT_INVALID);
}

TEST_F(SessionValuesTest, OutOfRangeIsTheEndOfInputOnly) {
  AddQueue();
  const auto session = Open();
  const Fetch<float> dequeue("dequeue:0");
  ASSERT_THAT(session->Run(Target("enqueue")), IsOk());
  ASSERT_THAT(session->Run(Target("close")), IsOk());
  ASSERT_THAT(session->Run(dequeue), IsOkAndHolds(1.0f));

  for (const RunOptions* options : {&options_, (const RunOptions*)nullptr}) {
    const absl::Status ended = session->Run(dequeue, {}, options).status();
    EXPECT_THAT(ended, StatusIs(absl::StatusCode::kOutOfRange));
    EXPECT_TRUE(IsEndOfInput(ended)) << ended;
    for (const char* name : {"dequeue:1", "dequeue:-1", "dequeue", "close:0"}) {
      const absl::Status bad =
          session->Run(Fetch<float>(name), {}, options).status();
      EXPECT_THAT(bad, StatusIs(kInvalid)) << name;
      EXPECT_FALSE(IsEndOfInput(bad)) << bad;
    }
  }
}

// A checkpoint cut short is lost data: training must not end as if its input
// had.
TEST_F(SessionValuesTest, TruncatedCheckpointIsNoEndOfInput) {
  const TempDir dir;
  const auto prefix = ops::Const(scope_, dir / "model");
  ops::SaveV2(scope_.WithOpName("save"), prefix, ops::Const(scope_, {"w"}),
              ops::Const(scope_, {""}),
              {Output(ops::Fill(scope_, {1000}, 0.5f))});
  ops::RestoreV2(scope_.WithOpName("restore"), prefix,
                 ops::Const(scope_, {"w"}), ops::Const(scope_, {""}),
                 {tensorflow::DT_FLOAT});
  const auto session = Open();
  ASSERT_THAT(session->Run(Target("save")), IsOk());
  for (const char* file : {"model.data-00000-of-00001", "model.index"}) {
    const auto bytes = ReadFile(dir / file, 1 << 20);
    ASSERT_THAT(bytes, IsOk());
    for (const size_t size : {size_t{0}, size_t{1}, bytes->size() / 2}) {
      ASSERT_THAT(WriteFileAtomically(dir / file, bytes->substr(0, size)),
                  IsOk());
      const absl::Status status =
          session->Run(Fetch<Tensor>("restore:0")).status();
      EXPECT_THAT(status, StatusIs(absl::StatusCode::kDataLoss)) << size;
      EXPECT_FALSE(IsEndOfInput(status)) << status;
    }
    ASSERT_THAT(WriteFileAtomically(dir / file, *bytes), IsOk());
  }
  EXPECT_THAT(session->Run(Fetch<Tensor>("restore:0")), IsOk());
}

TEST_F(SessionValuesTest, PlansOfOneSessionNeverRunOnAnother) {
  const auto w = Variable::Create(*graph_, scope_, "w",
                                  ops::Const(scope_.WithOpName("zero"), 0.0f));
  ASSERT_THAT(w, IsOk());
  const auto one = Open();
  const auto two = Open();
  const auto request =
      std::make_shared<const Request>(MakeRequest(Fetch<float>(w->value())));
  internal::StepBuffers buffers;
  for (const auto& session : {one, two}) {
    ASSERT_THAT(session->Run(Target(w->initializer())), IsOk());
  }
  ASSERT_THAT(one->RunParts({{&request, {}}}, nullptr, nullptr, &buffers),
              IsOk());
  const auto first_plan = buffers.plan;
  ASSERT_THAT(one->Close(), IsOk());

  // The request and the buffers outlive the session, as in a recovery.
  EXPECT_THAT(two->RunParts({{&request, {}}}, nullptr, nullptr, &buffers),
              IsOk());

  EXPECT_NE(buffers.plan, first_plan);
}

TEST_F(SessionValuesTest, VariablesWithoutSharedNameAreRefused) {
  ops::VarHandleOp(scope_.WithOpName("a"), tensorflow::DT_FLOAT, {});
  ops::VarHandleOp(scope_.WithOpName("b"), tensorflow::DT_FLOAT, {});

  EXPECT_THAT(Session::Create(graph_), StatusIs(kInvalid));
}

// What is fetched of a variable, itself or through an operation that hands on
// its buffer, and what makes it.
struct ReferenceCase {
  std::string name;
  Output (*make)(const Scope& scope, const Output& reference);

  friend std::ostream& operator<<(std::ostream& os, const ReferenceCase& c) {
    return os << c.name;
  }
};

Output Sized(const Scope& scope, const std::vector<int>& values) {
  Tensor tensor(tensorflow::DT_INT32,
                tensorflow::TensorShape({static_cast<int64_t>(values.size())}));
  std::copy(values.begin(), values.end(), tensor.flat<int>().data());
  return ops::Const(scope, tensor);
}

const ReferenceCase kReferenceCases[] = {
    {"Itself", [](const Scope&, const Output& v) { return v; }},
    {"Identity",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Identity(s, v);
     }},
    {"IdentityTwice",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Identity(s, ops::Identity(s, v));
     }},
    {"Reshape",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Reshape(s, v, Sized(s, {2, 1024}));
     }},
    {"Slice",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Slice(s, v, Sized(s, {64, 0}), Sized(s, {8, -1}));
     }},
    {"Transpose",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Transpose(s, v, Sized(s, {0, 1}));
     }},
    {"Cast",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Cast(s, v, tensorflow::DT_FLOAT);
     }},
    {"TimesOne",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Mul(s, v, ops::Const(s, 1.0f));
     }},
    {"Unstack",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Unstack(s, v, 128)[5];
     }},
    {"Branch",
     [](const Scope& s, const Output& v) -> Output {
       const auto branches =
           ops::Switch(s, ops::Identity(s, v), ops::Const(s, true));
       return ops::Merge(s, {branches.output_false, branches.output_true})
           .output;
     }},
    {"SumOverNothing",
     [](const Scope& s, const Output& v) -> Output {
       return ops::Sum(s, v, Sized(s, {}));
     }},
};

class ReferenceValuesTest : public testing::TestWithParam<ReferenceCase> {};

INSTANTIATE_TEST_SUITE_P(Of, ReferenceValuesTest,
                         testing::ValuesIn(kReferenceCases),
                         [](const auto& of) { return of.param.name; });

TEST_P(ReferenceValuesTest, FetchedReferenceVariablesStayAsTheyWere) {
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const Output variable = ops::Variable(scope, {128, 16}, tensorflow::DT_FLOAT);
  const Output ones = ops::Fill(scope, {128, 16}, 1.0f);
  ops::Assign(scope.WithOpName("init"), variable, ones);
  ops::AssignAdd(scope.WithOpName("grow"), variable, ones,
                 ops::AssignAdd::UseLocking(true));
  const Fetch<Tensor> fetch(GetParam().make(scope, variable));
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target("init")), IsOk());
  const RunOptions options;

  for (const RunOptions* with : {(const RunOptions*)nullptr, &options}) {
    const auto value = (*session)->Run(fetch, {}, with);
    ASSERT_THAT(value, IsOk());
    const float before = value->flat<float>()(0);
    ASSERT_THAT((*session)->Run(Target("grow")), IsOk());

    EXPECT_EQ(value->flat<float>()(0), before);
  }
}

TEST(ResourceValuesTest, FetchedVariablesStayAsTheyWere) {
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const auto w =
      Variable::Create(*graph, scope, "w", ops::Const(scope, {1.0f, 2.0f}));
  ASSERT_THAT(w, IsOk());
  ops::AssignAddVariableOp(scope.WithOpName("grow"), w->handle(),
                           ops::Const(scope, {1.0f, 1.0f}));
  ops::ResourceScatterAdd(scope.WithOpName("scatter"), w->handle(),
                          ops::Const(scope, 0), ops::Const(scope, 1.0f));
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target(w->initializer())), IsOk());

  for (const char* update : {"grow", "scatter", "scatter", "grow"}) {
    const auto value = (*session)->Run(Fetch<Tensor>(w->value()));
    ASSERT_THAT(value, IsOk());
    const float before = value->flat<float>()(0);
    ASSERT_THAT((*session)->Run(Target(update)), IsOk());

    EXPECT_EQ(value->flat<float>()(0), before) << update;
  }
}

// What is no reference is not copied.
TEST(ResourceValuesTest, FetchedVariablesShareTheirBuffer) {
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  const auto w =
      Variable::Create(*graph, scope, "w", ops::Const(scope, {1.0f, 2.0f}));
  ASSERT_THAT(w, IsOk());
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());
  ASSERT_THAT((*session)->Run(Target(w->initializer())), IsOk());

  const auto first = (*session)->Run(Fetch<Tensor>(w->value()));
  const auto second = (*session)->Run(Fetch<Tensor>(w->value()));

  ASSERT_THAT(first, IsOk());
  ASSERT_THAT(second, IsOk());
  EXPECT_TRUE(first->SharesBufferWith(*second));
}

// RUN-19
TEST(RoundTripTest, EveryTypeComesBackAsItWasFed) {
  const GraphPtr graph = Graph::Create();
  const Scope scope = graph->scope();
  std::vector<tensorflow::DataType> types = {
      tensorflow::DT_FLOAT,      tensorflow::DT_DOUBLE,
      tensorflow::DT_HALF,       tensorflow::DT_BFLOAT16,
      tensorflow::DT_INT8,       tensorflow::DT_INT16,
      tensorflow::DT_INT32,      tensorflow::DT_INT64,
      tensorflow::DT_UINT8,      tensorflow::DT_UINT16,
      tensorflow::DT_UINT32,     tensorflow::DT_UINT64,
      tensorflow::DT_BOOL,       tensorflow::DT_COMPLEX64,
      tensorflow::DT_COMPLEX128, tensorflow::DT_STRING};
  for (const auto type : types) {
    const std::string name = tensorflow::DataTypeString(type);
    ops::Identity(scope.WithOpName("out_", name),
                  ops::Placeholder(scope.WithOpName("in_", name), type));
  }
  const auto session = Session::Create(graph);
  ASSERT_THAT(session, IsOk());

  for (const auto type : types) {
    const std::string name = tensorflow::DataTypeString(type);
    for (const auto& shape :
         {tensorflow::TensorShape({2, 3}), tensorflow::TensorShape({0, 4}),
          tensorflow::TensorShape({})}) {
      Tensor fed(type, shape);
      if (type == tensorflow::DT_STRING) {
        for (int64_t i = 0; i < fed.NumElements(); ++i) {
          fed.flat<tensorflow::tstring>()(i) =
              std::string("\0 é\xff\n", 7) + std::to_string(i);
        }
      } else {
        auto* bytes = static_cast<char*>(fed.data());
        for (size_t i = 0; i < fed.TotalBytes(); ++i) bytes[i] = (i % 2) == 0;
      }
      const auto fetched =
          (*session)->Run(Fetch<Tensor>(absl::StrCat("out_", name, ":0")),
                          {{absl::StrCat("in_", name, ":0"), fed}});
      ASSERT_THAT(fetched, IsOk()) << name;
      EXPECT_EQ(fetched->shape(), fed.shape()) << name;
      if (type == tensorflow::DT_STRING) {
        for (int64_t i = 0; i < fed.NumElements(); ++i) {
          EXPECT_EQ(fetched->flat<tensorflow::tstring>()(i),
                    fed.flat<tensorflow::tstring>()(i));
        }
      } else {
        EXPECT_EQ(fetched->tensor_data(), fed.tensor_data()) << name;
      }
    }
  }
}

}  // namespace
}  // namespace tftrain
