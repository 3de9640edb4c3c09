// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/util/json_util.h"
#include "tftrain/summary/step_stats_for_test.h"

namespace tftrain {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;
using OpTime = Timeline::OpTime;
using Json = google::protobuf::Value;

constexpr char kCpu[] = "/job:w/device:CPU:0";

std::string Text(const Json& value) {
  if (value.has_struct_value()) {
    std::map<std::string, std::string> members;
    for (const auto& [key, member] : value.struct_value().fields()) {
      members[key] = Text(member);
    }
    return absl::StrCat(
        "{", absl::StrJoin(members, " ", absl::PairFormatter("=")), "}");
  }
  return value.has_number_value() ? absl::StrCat(value.number_value())
                                  : value.string_value();
}

// The events of a trace, each as "X Add 1/0 @130 dur=9 args={name=c op=Add}":
// phase, name, process / thread, time, and the rest. Metadata is left out.
std::vector<std::string> Events(const std::string& trace,
                                const std::string& phases = "XstNODC") {
  google::protobuf::Struct json;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(trace, &json).ok())
      << trace;
  std::vector<std::string> events;
  for (const Json& event :
       json.fields().at("traceEvents").list_value().values()) {
    auto members = event.struct_value().fields();
    const auto take = [&members](const std::string& key) {
      std::string text = Text(members[key]);
      members.erase(key);
      return text;
    };
    const std::string phase = take("ph");
    if (phases.find(phase) == phases.npos) continue;
    std::string line = absl::StrCat(phase, " ", take("name"), " ", take("pid"));
    if (phase != "M") {
      absl::StrAppend(&line, "/", take("tid"), " @", take("ts"));
      take("cat");
    }
    for (const char* const key : {"dur", "id", "args"}) {
      if (members.count(key) > 0)
        absl::StrAppend(&line, " ", key, "=", take(key));
    }
    EXPECT_TRUE(members.empty()) << line;
    events.push_back(line);
  }
  return events;
}

std::vector<std::string> EventsOf(const std::string& stats_text,
                                  const std::string& phases = "XstNODC",
                                  const Timeline::Options& options = {}) {
  const tensorflow::StepStats stats = ParseStepStats(stats_text);
  return Events(Timeline(stats).GenerateChromeTraceFormat(options), phases);
}

TEST(TimelineTest, IsJsonAsPythonLaysItOut) {
  // TLN-01
  const tensorflow::StepStats stats =
      ParseStepStats(DeviceText("d", NodeText("a", "a = F(é)", 5, 2)));

  EXPECT_EQ(Timeline(stats).GenerateChromeTraceFormat(), R"({
    "traceEvents": [
        {
            "name": "process_name",
            "ph": "M",
            "pid": 0,
            "args": {
                "name": "Allocators"
            }
        },
        {
            "name": "process_name",
            "ph": "M",
            "pid": 1,
            "args": {
                "name": "d Compute"
            }
        },
        {
            "name": "process_name",
            "ph": "M",
            "pid": 2,
            "args": {
                "name": "d Tensors"
            }
        },
        {
            "ph": "X",
            "cat": "Op",
            "name": "F",
            "pid": 1,
            "tid": 0,
            "ts": 5,
            "dur": 2,
            "args": {
                "name": "a",
                "op": "F",
                "input0": "\u00e9"
            }
        }
    ]
})");
}

TEST(TimelineTest, CountsTwoProcessesForEachDevice) {
  // TLN-02
  EXPECT_THAT(EventsOf("", "M"),
              ElementsAre("M process_name 0 args={name=Allocators}"));
  EXPECT_THAT(EventsOf(DeviceText("x", "") + DeviceText("y", ""), "M"),
              ElementsAre("M process_name 0 args={name=Allocators}",
                          "M process_name 1 args={name=x Compute}",
                          "M process_name 2 args={name=x Tensors}",
                          "M process_name 3 args={name=y Compute}",
                          "M process_name 4 args={name=y Tensors}"));
}

TEST(TimelineTest, TakesTheFirstLaneThatIsFree) {
  // TLN-03: a lane is free after its end, not at it, and the first from 1 on.
  const std::string label = "n = F()";
  EXPECT_THAT(
      EventsOf(DeviceText(
          "d", NodeText("n", label, 0, 1) + NodeText("n", label, 1, 4) +
                   NodeText("n", label, 2, 9) + NodeText("n", label, 5, 1) +
                   NodeText("n", label, 6, 1))),
      ElementsAre("X F 1/1 @0 dur=1 args={name=n op=F}",
                  "X F 1/0 @1 dur=4 args={name=n op=F}",
                  "X F 1/1 @2 dur=9 args={name=n op=F}",
                  "X F 1/2 @5 dur=1 args={name=n op=F}",
                  "X F 1/0 @6 dur=1 args={name=n op=F}"));
}

TEST(TimelineTest, LeavesTheStatisticsAsTheyAre) {
  // TLN-03
  const tensorflow::StepStats stats = BusyStepStats();
  const std::string before = stats.SerializeAsString();
  const Timeline timeline(stats);
  const std::string trace = timeline.GenerateChromeTraceFormat();

  EXPECT_EQ(stats.SerializeAsString(), before);
  EXPECT_EQ(timeline.GenerateChromeTraceFormat(), trace);
}

TEST(TimelineTest, TakesOperationAndInputsFromTheLabel) {
  // TLN-04
  const auto shown = [](const std::string& label) {
    const auto events = EventsOf(DeviceText("d", NodeText("n", label, 1, 3)));
    return absl::StrJoin(events, "\n");
  };
  EXPECT_EQ(shown("n = Add(x, y:1)"),
            "X Add 1/0 @1 dur=3 args={input0=x input1=y:1 name=n op=Add}");
  EXPECT_EQ(shown("n = Const()"),
            "X Const 1/0 @1 dur=3 args={name=n op=Const}");
  EXPECT_EQ(shown("m = n = F(a)(b) c"),
            "X F(a) 1/0 @1 dur=3 args={input0=b name=n op=F(a)}");
  for (const char* const label :
       {"", "n", "n = Add", "n = Add(", "n = )(", "Add(x)", "(a) = b)"}) {
    EXPECT_EQ(shown(label), "X unknown 1/0 @1 dur=3 args={name=n op=unknown}")
        << label;
  }
}

TEST(TimelineTest, ReceivedTensorsHaveNoInputs) {
  // TLN-05
  EXPECT_THAT(
      EventsOf(DeviceText("d", NodeText("RecvTensor", "n = Add(x)", 1, 3))),
      ElementsAre("X RecvTensor 1/0 @1 dur=3 args={name=RecvTensor "
                  "op=RecvTensor}"));
}

TEST(TimelineTest, KernelsAreNamedAfterTheirOperations) {
  // TLN-05
  for (const char* const device : {"/gpu:0/stream:1", "/gpu:0/memcpy"}) {
    EXPECT_THAT(
        EventsOf(DeviceText(device, NodeText("n:N", "k@@m:Mul#7", 1, 1) +
                                        NodeText("n:N:x", "k", 3, 1) +
                                        NodeText("n", "@@#n = F(a)", 5, 1))),
        ElementsAre("X Mul 1/0 @1 dur=1 args={name=m op=Mul}",
                    "X N 1/0 @3 dur=1 args={name=n op=N}",
                    "X unknown 1/0 @5 dur=1 args={name=n op=unknown}"));
  }
}

TEST(TimelineTest, ArrowsLeadFromProducersToConsumersInOtherLanes) {
  // TLN-06
  const std::string stats =
      DeviceText(kCpu, NodeText("a", "a = Const()", 1, 4, OutputText(4)) +
                           NodeText("b", "b = Neg(a)", 7, 1) +
                           NodeText("c", "c = Neg(a)", 8, 1)) +
      DeviceText("y", NodeText("d", "d = Add(a, a)", 9, 1));

  EXPECT_THAT(
      EventsOf(stats, "st"),
      ElementsAre("s a 1/0 @5 id=0", "t a 1/1 @8 id=0", "s a 1/0 @5 id=1",
                  "t a 3/0 @9 id=1", "s a 1/0 @5 id=2", "t a 3/0 @9 id=2"));
  EXPECT_THAT(EventsOf(stats, "st", {false}), IsEmpty());
}

TEST(TimelineTest, FindsTheProducerBehindATransfer) {
  // TLN-07
  EXPECT_THAT(
      EventsOf(DeviceText("x", NodeText("a", "a = F()", 1, 1, OutputText(4))) +
                   DeviceText(
                       "y", NodeText("b", "b = G(a/_3, c/_4, ^a, /_5)", 5, 1)),
               "st"),
      ElementsAre("s a 1/0 @2 id=0", "t a 3/0 @5 id=0"));
}

TEST(TimelineTest, ShowsTensorsAndMemory) {
  // TLN-08: b is read until 19, a until 11.
  const std::string stats =
      DeviceText(kCpu, NodeText("a", "a = F()", 1, 4, OutputText(8)) +
                           NodeText("b", "b = G(a)", 6, 6, OutputText(100)) +
                           NodeText("c", "c = G(b)", 15, 5));
  const std::string description =
      "args={snapshot={tensor_description=dtype: DT_FLOAT\nshape {\n  dim {\n"
      "    size: 2\n  }\n}\nallocation_description {\n  requested_bytes: ";

  EXPECT_THAT(
      EventsOf(stats, "NODC", {true, true}),
      ElementsAre("N a 2/0 @1 id=0",
                  absl::StrCat("O a 2/0 @4 id=0 ", description,
                               "8\n  allocator_name: cpu\n}\n}}"),
                  "N b 2/0 @6 id=1",
                  absl::StrCat("O b 2/0 @11 id=1 ", description,
                               "100\n  allocator_name: cpu\n}\n}}"),
                  "D a 2/0 @11 id=0", "D b 2/0 @19 id=1",
                  "C cpu 0/0 @1 args={cpu=8}", "C cpu 0/0 @6 args={cpu=108}",
                  "C cpu 0/0 @11 args={cpu=100}",
                  "C cpu 0/0 @19 args={cpu=0}"));
  EXPECT_THAT(EventsOf(stats, "NODC"), IsEmpty());
}

TEST(TimelineTest, TellsTheMostThatEachAllocatorHeld) {
  // TLN-09
  const tensorflow::StepStats stats = ParseStepStats(DeviceText(
      kCpu, NodeText("a", "a = F()", 1, 4, OutputText(8)) +
                NodeText("b", "b = G(a)", 6, 6, OutputText(100)) +
                NodeText("c", "c = G(b)", 15, 5, OutputText(7)) +
                NodeText("d", "d = G(c)", 30, 5, OutputText(50, "gpu"))));
  using Maximum = Timeline::AllocationMaximum;
  const auto is = [](int64_t time, int64_t bytes, const auto& tensors) {
    return AllOf(Field(&Maximum::timestamp, time),
                 Field(&Maximum::num_bytes, bytes),
                 Field(&Maximum::tensors, tensors));
  };

  EXPECT_THAT(
      Timeline(stats).AnalyzeStepStats().allocator_maximums,
      UnorderedElementsAre(Pair("cpu", is(6, 108, ElementsAre("a", "b"))),
                           Pair("gpu", is(30, 50, ElementsAre("d")))));
  EXPECT_THAT(Timeline(stats).AnalyzeStepStats({}).allocator_maximums,
              IsEmpty());
}

TEST(TimelineTest, ExtendsOperationsToTheirKernelsOnRequest) {
  // TLN-10
  const std::string stats =
      DeviceText(kCpu, NodeText("a", "a = F()", 10, 5) +
                           NodeText("b", "b = F()", 20, 50) +
                           NodeText("c", "c = F()", 80, 1)) +
      DeviceText("/gpu:0/stream:all", NodeText("a:F", "", 12, 2) +
                                          NodeText("a:F", "", 11, 9) +
                                          NodeText("b:F", "", 30, 1));
  const auto shown = [&stats](OpTime op_time) {
    auto events = EventsOf(stats, "X", {true, false, op_time});
    events.resize(3);
    return events;
  };

  EXPECT_THAT(shown(OpTime::kSchedule),
              ElementsAre("X F 1/0 @10 dur=5 args={name=a op=F}",
                          "X F 1/0 @20 dur=50 args={name=b op=F}",
                          "X F 1/0 @80 dur=1 args={name=c op=F}"));
  EXPECT_THAT(shown(OpTime::kGpu),
              ElementsAre("X F 1/0 @11 dur=9 args={name=a op=F}",
                          "X F 1/0 @30 dur=40 args={name=b op=F}",
                          "X F 1/0 @80 dur=1 args={name=c op=F}"));
  EXPECT_THAT(shown(OpTime::kAll),
              ElementsAre("X F 1/0 @10 dur=10 args={name=a op=F}",
                          "X F 1/1 @20 dur=50 args={name=b op=F}",
                          "X F 1/0 @80 dur=1 args={name=c op=F}"));
}

TEST(TimelineTest, LaterOutputsHaveANumber) {
  // TLN-11
  EXPECT_THAT(
      EventsOf(DeviceText(kCpu, NodeText("a", "a = F()", 1, 1,
                                         OutputText(1) + OutputText(2))),
               "ND", {true, true}),
      ElementsAre("N a 2/0 @1 id=0", "N a:1 2/0 @1 id=1", "D a 2/0 @2 id=0",
                  "D a:1 2/0 @2 id=1"));
}

TEST(TimelineTest, ReplacesWhatIsNoText) {
  tensorflow::StepStats stats;
  stats.add_dev_stats()->set_device(
      "\xFF\xED\xA0\x80\xF0\x9F\x98\x80\x7F\n\"\\");
  EXPECT_THAT(Timeline(stats).GenerateChromeTraceFormat(),
              HasSubstr("\"\\ufffd\\ufffd\\ufffd\\ufffd\\ud83d\\ude00\\u007f"
                        "\\n\\\"\\\\ Compute\""));
}

TEST(TimelineTest, AnyStatisticsMakeValidJson) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    const tensorflow::StepStats stats = HostileStepStats(seed);
    const Timeline timeline(stats);
    for (const OpTime op_time :
         {OpTime::kSchedule, OpTime::kGpu, OpTime::kAll}) {
      EXPECT_THAT(
          Events(timeline.GenerateChromeTraceFormat({true, true, op_time}),
                 "M"),
          Not(IsEmpty()))
          << seed;
    }
  }
}

}  // namespace
}  // namespace tftrain
