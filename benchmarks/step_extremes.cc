// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "benchmarks/step_extremes.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "benchmarks/allocations.h"
#include "benchmarks/paired_blocks.h"
#include "benchmarks/report.h"
#include "benchmarks/subject.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/platform/logging.h"

namespace tftrain::benchmarks {
namespace {

namespace ops = tensorflow::ops;

constexpr int kStepsPerBlock = 50;
constexpr int kWarmUpSteps = 200;
constexpr int kNested = 100;

// A global step, an operation "nothing", a summary of a constant, and constants
// "c0" to "c99".
GraphPtr SmallGraph() {
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  CHECK(CreateGlobalStep(*graph).ok());
  ops::NoOp(scope.WithOpName("nothing"));
  for (int i = 0; i < kNested; ++i) {
    ops::Const(scope.WithOpName(absl::StrCat("c", i)), static_cast<float>(i));
  }
  ops::ScalarSummary(scope.WithOpName("summary"), std::string("c"),
                     ops::Const(scope, 1.0f));
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

// `count` of the hooks that come with the library, none of them due.
std::vector<HookPtr> IdleHooks(int count, const std::string& run_dir) {
  std::vector<HookPtr> hooks;
  for (int i = 0; i < count; ++i) {
    switch (i % 4) {
      case 0:
        hooks.push_back(StopAtStep(kNever));
        break;
      case 1:
        hooks.push_back(LogTensors({"c0:0"}, Every::Steps(kNever)));
        break;
      case 2:
        hooks.push_back(SaveSummaries(run_dir, Every::Steps(kNever),
                                      std::string("summary:0")));
        break;
      default:
        hooks.push_back(CountSteps(run_dir, Every::Steps(kNever)));
    }
  }
  return hooks;
}

std::unique_ptr<Subject> Open(int hooks, const std::string& run_dir) {
  SingularMonitoredSession::Options options;
  options.hooks = IdleHooks(hooks, run_dir);
  options.thread_mode = ThreadMode::kCallingThread;
  return std::make_unique<Subject>(SmallGraph(), std::move(options));
}

// A map of lists of ten fetches each, and the same flat.
FetchTree NestedFetches() {
  std::map<std::string, FetchTree> map;
  for (int i = 0; i < kNested; i += 10) {
    std::vector<FetchTree> list;
    for (int j = i; j < i + 10; ++j) {
      list.push_back(Fetch<float>(absl::StrCat("c", j, ":0")));
    }
    map.emplace(absl::StrCat("list_", i), List(std::move(list)));
  }
  return Map(std::move(map));
}
std::vector<std::string> FlatFetches() {
  std::vector<std::string> names;
  for (int i = 0; i < kNested; ++i) names.push_back(absl::StrCat("c", i, ":0"));
  return names;
}

double AllocationsPerStep(const std::function<void()>& step) {
  constexpr int kSteps = 1000;
  const int64_t before = AllocationsOfThisThread();
  for (int i = 0; i < kSteps; ++i) step();
  return static_cast<double>(AllocationsOfThisThread() - before) / kSteps;
}

// A training step of a millisecond or two, among 130,000 operations.
GraphPtr LargeGraph() {
  constexpr int kOperations = 130000;
  constexpr int kWidth = 384;
  const GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const auto step = CreateGlobalStep(*graph);
  CHECK(step.ok()) << step.status();
  const auto weights =
      Variable::Create(*graph, scope, "weights",
                       ops::Fill(scope, ops::Const(scope, {kWidth, kWidth}),
                                 ops::Const(scope, 1.0f / kWidth)));
  CHECK(weights.ok()) << weights.status();
  tensorflow::Output x = weights->value();
  for (int i = 0; i < 2; ++i) x = ops::MatMul(scope, x, weights->value());
  const auto loss =
      ops::Mean(scope.WithOpName("loss"), x, ops::Const(scope, {0, 1}));
  const auto update = ops::AssignAddVariableOp(
      scope.WithControlDependencies({loss.output.op()}), weights->handle(),
      ops::ZerosLike(scope, x));
  ops::AssignAddVariableOp(
      scope.WithOpName("train").WithControlDependencies({update.operation}),
      step->handle(), ops::Const(scope, int64_t{1}));
  ops::ScalarSummary(scope.WithOpName("summary"), std::string("loss"), loss);
  tensorflow::Output filler = ops::Const(scope, 1.0f);
  while (graph->engine_graph().num_op_nodes() < kOperations) {
    filler = ops::Neg(scope, filler);
  }
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

// How long each of many calls took, on the clock and of this thread's time on a
// processor, which other programs do not lengthen.
struct Calls {
  std::vector<double> us;
  std::vector<double> cpu_us;

  void Add(const std::function<void()>& call) {
    const auto start = std::chrono::steady_clock::now();
    const double cpu_start = ThreadCpuUs();
    call();
    cpu_us.push_back(ThreadCpuUs() - cpu_start);
    const std::chrono::duration<double, std::micro> took =
        std::chrono::steady_clock::now() - start;
    us.push_back(took.count());
  }

  static double ThreadCpuUs() {
    timespec now;
    CHECK_EQ(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return static_cast<double>(now.tv_sec) * 1e6 +
           static_cast<double>(now.tv_nsec) * 1e-3;
  }
};

double WorstOverMedian(const std::vector<double>& us) {
  return *std::max_element(us.begin(), us.end()) / Median(us);
}

}  // namespace

void MeasureExtremes(const std::string& run_dir, int rounds) {
  const auto none = Open(0, run_dir + "/none");
  const auto five = Open(5, run_dir + "/five");
  const auto hundred = Open(100, run_dir + "/hundred");
  none->Bind(FlatFetches(), {});
  five->Bind({}, {"nothing"});

  PairedBlocks blocks(kStepsPerBlock);
  blocks.Add("none", Stepping(none->session(), Target("nothing")));
  blocks.Add("five", Stepping(five->session(), Target("nothing")));
  blocks.Add("hundred", Stepping(hundred->session(), Target("nothing")));
  blocks.Add("callable", [&] { five->RunCallable(); });
  blocks.Add("nested", Stepping(none->session(), NestedFetches()));
  blocks.Add("flat", [&] { none->RunCallable(); });
  blocks.Run(kWarmUpSteps / kStepsPerBlock);
  blocks.Forget();
  blocks.Run(rounds);

  Print("noop_callable_us", blocks.Us("callable"), "us");
  Print("empty_step_ratio", blocks.Ratio("five", "callable"), "ratio");
  Print("hundred_hooks_over_none_us", blocks.Difference("hundred", "none"),
        "us");
  Print("flat_100_callable_us", blocks.Us("flat"), "us");
  Print("nested_100_over_flat_ratio", blocks.Ratio("nested", "flat"), "ratio");
  Print("allocations_per_step",
        AllocationsPerStep(Stepping(five->session(), Target("nothing"))) -
            AllocationsPerStep([&] { five->RunCallable(); }),
        "allocations");
}

void MeasureWorstStep(const std::string& run_dir) {
  constexpr int kSteps = 10000;
  SingularMonitoredSession::Options options;
  LoggingTensorHook::Options logging;
  logging.tensors = {"loss:0"};
  logging.every_n_iter = 10;
  options.hooks = {
      std::make_shared<LoggingTensorHook>(logging),
      SaveSummaries(run_dir + "/a", Every::Steps(100), "summary:0"),
      CountSteps(run_dir + "/b", Every::Steps(300)),
      SaveSummaries(run_dir + "/c", Every::Steps(25), "summary:0"),
      SaveSummaries(run_dir + "/d", Every::Steps(7), "summary:0")};
  options.thread_mode = ThreadMode::kCallingThread;
  Subject subject(LargeGraph(), std::move(options));
  subject.Bind({"loss:0"}, {"train"});
  const auto step = Stepping(
      subject.session(), std::tuple(Target("train"), Fetch<float>("loss:0")));
  const auto callable = [&] { subject.RunCallable(); };
  const int64_t plans = subject.session().raw_session().plans_made();
  // The first steps run each plan for the first time: the runtime's own
  // warm-up, not that of a plan.
  for (int i = 0; i < 10; ++i) {
    step();
    callable();
  }

  // In turn with a bare callable, to tell what the machine does to both.
  Calls steps, callables;
  for (int i = 0; i < kSteps; ++i) {
    steps.Add(step);
    callables.Add(callable);
  }
  Print("large_graph_step_us", Median(steps.us), "us");
  Print("worst_step_ratio", WorstOverMedian(steps.us), "ratio");
  Print("worst_callable_ratio", WorstOverMedian(callables.us), "ratio");
  Print("worst_step_cpu_ratio", WorstOverMedian(steps.cpu_us), "ratio");
  Print("worst_callable_cpu_ratio", WorstOverMedian(callables.cpu_us), "ratio");
  Print(
      "late_plans",
      static_cast<double>(subject.session().raw_session().plans_made() - plans),
      "plans");
}

}  // namespace tftrain::benchmarks
