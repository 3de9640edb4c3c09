// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// A model for the tests of Saver, in programs that start and end.

#ifndef TFTRAIN_CHECKPOINT_SAVER_TEST_MODEL_H_
#define TFTRAIN_CHECKPOINT_SAVER_TEST_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/standard_ops.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/platform/logging.h"
#include "tensorflow/core/platform/status.h"
#include "tftrain/checkpoint/saver.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/global_step.h"
#include "tftrain/graph/graph.h"
#include "tftrain/graph/variable.h"
#include "tftrain/session/session.h"
#include "tftrain/testing/unsynced_file_ops.h"

namespace tftrain {

// What is special about a model.
struct ModelOptions {
  // If not empty, the float variables are, in this order, the parts of a whole
  // of that name.
  std::string whole;
  // Whether there is also a variable "text" of two strings.
  bool has_text = false;
};

// Makes the last local variable of the graph a global one, the part `index` of
// `count`.
inline void MakePart(Graph& graph, const std::string& whole, int64_t index,
                     int64_t count) {
  auto defs = graph.GetProtoCollection<tensorflow::VariableDef>(
      collection_keys::kLocalVariables);
  CHECK(defs.ok()) << defs.status();
  tensorflow::SaveSliceInfoDef* slice =
      defs->back().mutable_save_slice_info_def();
  slice->set_full_name(whole);
  slice->add_full_shape(2 * count);
  slice->add_var_offset(2 * index);
  slice->add_var_shape(2);
  CHECK(graph.AddToCollection(collection_keys::kGlobalVariables, defs->back())
            .ok());
}

// A graph with the global step and, beside it, the float variables `names` of
// two elements each. `init` initialises all; `set` makes every element of
// them, and the global step, the number fed to `number`.
inline GraphPtr MakeModel(const std::vector<std::string>& names,
                          const ModelOptions& options = {}) {
  namespace ops = tensorflow::ops;
  GraphPtr graph = Graph::Create();
  const tensorflow::Scope scope = graph->scope();
  const ops::Placeholder number(scope.WithOpName("number"),
                                tensorflow::DT_INT64,
                                ops::Placeholder::Shape({}));
  const absl::StatusOr<Variable> step = CreateGlobalStep(*graph);
  CHECK(step.ok()) << step.status();
  const ops::Cast as_float(scope, number, tensorflow::DT_FLOAT);
  std::vector<tensorflow::Operation> inits = {step->initializer()};
  std::vector<tensorflow::Operation> sets = {
      ops::AssignVariableOp(scope, step->handle(), number).operation};
  Variable::Options variables;
  if (!options.whole.empty()) {
    variables.trainable = false;
    variables.collection = collection_keys::kLocalVariables;
  }
  for (const std::string& name : names) {
    const absl::StatusOr<Variable> variable = Variable::Create(
        *graph, scope, name, ops::Const(scope, {0.0f, 0.0f}), variables);
    CHECK(variable.ok()) << variable.status();
    inits.push_back(variable->initializer());
    const ops::Fill both(scope, {2}, as_float);
    sets.push_back(
        ops::AssignVariableOp(scope, variable->handle(), both).operation);
    if (!options.whole.empty()) {
      MakePart(*graph, options.whole, static_cast<int64_t>(sets.size()) - 2,
               static_cast<int64_t>(names.size()));
    }
  }
  if (options.has_text) {
    const absl::StatusOr<Variable> text = Variable::Create(
        *graph, scope, "text",
        ops::Const(scope, {std::string("0"), std::string("0")}));
    CHECK(text.ok()) << text.status();
    inits.push_back(text->initializer());
    const ops::Fill both(scope, {2}, ops::AsString(scope, number));
    sets.push_back(
        ops::AssignVariableOp(scope, text->handle(), both).operation);
  }
  Group(scope.WithOpName("init"), inits);
  Group(scope.WithOpName("set"), sets);
  CHECK(graph->status().ok()) << graph->status();
  return graph;
}

// One run of a program that trains the model: a graph, a saver, a session.
//
// Confined: use from the thread that created it.
class Program {
 public:
  Program() : Program(Saver::Options()) {}
  explicit Program(const Saver::Options& options,
                   const std::vector<std::string>& names = {"w", "b"},
                   const ModelOptions& model = {},
                   const Session::Options& session = {})
      : names_(names),
        session_options_(session),
        graph_(MakeModel(names, model)) {
    absl::StatusOr<std::shared_ptr<Saver>> saver =
        Saver::Create(*graph_, options);
    CHECK(saver.ok()) << saver.status();
    saver_ = *std::move(saver);
    Restart();
  }

  // A new session; the variables have no value.
  void Restart() {
    absl::StatusOr<std::shared_ptr<Session>> session =
        Session::Create(graph_, session_options_);
    CHECK(session.ok()) << session.status();
    session_ = *std::move(session);
  }

  const GraphPtr& graph() { return graph_; }
  Saver& saver() { return *saver_; }
  Session& session() { return *session_; }

  // Gives every variable the value `number`.
  void Set(int64_t number) {
    CHECK(session_->Run(Target("set"), {{"number:0", number}}).ok());
  }

  // Sets the variables and saves them.
  absl::StatusOr<std::string> SetAndSave(int64_t number,
                                         const std::string& path) {
    Set(number);
    Saver::SaveOptions options;
    options.global_step = number;
    return saver_->Save(*session_, path, options);
  }

  // The number that all variables hold, or how they differ.
  std::string State() {
    std::vector<std::string> values;
    const auto step = session_->GlobalStep();
    if (!step.ok()) return "no value";
    for (const std::string& name : names_) {
      const auto value = session_->Run(Fetch<std::vector<float>>(
          absl::StrCat(name, "/Read/ReadVariableOp:0")));
      if (!value.ok()) return "no value";
      for (const float element : *value) {
        if (element != static_cast<float>(*step)) {
          return absl::StrCat("step ", *step, " and ", name, " ", element);
        }
      }
    }
    return absl::StrCat(*step);
  }

  // The state after restoring `path` in a new session, or the error.
  std::string StateOf(const std::string& path) {
    Restart();
    const absl::Status status = saver_->Restore(*session_, path);
    return status.ok() ? State() : std::string(status.message());
  }

 private:
  const std::vector<std::string> names_;
  const Session::Options session_options_;
  const GraphPtr graph_;
  std::shared_ptr<Saver> saver_;
  std::shared_ptr<Session> session_;
};

}  // namespace tftrain

#endif  // TFTRAIN_CHECKPOINT_SAVER_TEST_MODEL_H_
