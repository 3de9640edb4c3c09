// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/setup/scaffold.h"

#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/cc/ops/array_ops.h"
#include "tensorflow/cc/ops/const_op.h"
#include "tensorflow/cc/ops/math_ops.h"
#include "tensorflow/cc/ops/resource_variable_ops.h"
#include "tensorflow/cc/ops/state_ops.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/summary_ops.h"
#include "tftrain/graph/variable.h"

namespace tftrain {
namespace {

using tensorflow::Operation;
using tensorflow::Output;
using tensorflow::Scope;
namespace ops = tensorflow::ops;

absl::Status MoreThanOne(std::string_view key, size_t count,
                         std::string_view arg_name) {
  return absl::FailedPreconditionError(absl::StrCat(
      "the collection \"", key, "\" holds ", count,
      " items where one is wanted; give the Scaffold its ", arg_name));
}

// The operations that a collection names.
absl::StatusOr<std::vector<Operation>> Operations(const Graph& graph,
                                                  std::string_view key) {
  std::vector<Operation> operations;
  for (const std::string& name : graph.GetCollection(key)) {
    TF_ASSIGN_OR_RETURN(const tensorflow::Node* node,
                        graph.FindOperation(name));
    operations.push_back(AsOperation(node));
  }
  return operations;
}

absl::StatusOr<std::string> MakeGroup(
    Graph& graph, std::string_view variables_key,
    std::initializer_list<std::string_view> operation_keys) {
  TF_ASSIGN_OR_RETURN(const std::vector<Variable> variables,
                      Variable::FromCollection(graph, variables_key));
  std::vector<Operation> operations;
  for (const Variable& variable : variables) {
    operations.push_back(variable.initializer());
  }
  for (std::string_view key : operation_keys) {
    TF_ASSIGN_OR_RETURN(const std::vector<Operation> more,
                        Operations(graph, key));
    operations.insert(operations.end(), more.begin(), more.end());
  }
  const Scope scope = graph.scope();
  const Operation group = Group(scope.WithOpName("group_deps"), operations);
  TF_RETURN_IF_ERROR(scope.status());
  return group.node()->name();
}

// Where names of variables are put together: strings live on a CPU.
std::string DeviceOfReports() {
  const char* const device =
      std::getenv("TF_DEVICE_FOR_UNINITIALIZED_VARIABLE_REPORTING");
  return device != nullptr ? device : "/device:CPU:0";
}

// The names of those variables of the collections `keys` that have no value
// yet, as a string vector. The runtime looks at each on its own device.
absl::StatusOr<std::optional<std::string>> ReportWithoutValue(
    Graph& graph, std::initializer_list<std::string_view> keys) {
  std::vector<Variable> variables;
  for (std::string_view key : keys) {
    TF_ASSIGN_OR_RETURN(const std::vector<Variable> some,
                        Variable::FromCollection(graph, key));
    variables.insert(variables.end(), some.begin(), some.end());
  }
  const Scope scope =
      graph.scope().NewSubScope("report_uninitialized_variables");
  std::vector<Output> has_value;
  tensorflow::Tensor names(
      tensorflow::DT_STRING,
      tensorflow::TensorShape({static_cast<int64_t>(variables.size())}));
  for (size_t i = 0; i < variables.size(); ++i) {
    names.vec<tensorflow::tstring>()(static_cast<int64_t>(i)) =
        variables[i].name();
    has_value.push_back(
        variables[i].is_resource()
            ? ops::VarIsInitializedOp(scope, variables[i].handle())
                  .is_initialized
            : ops::IsVariableInitialized(scope, variables[i].handle())
                  .is_initialized);
  }
  const Scope listing = scope.WithDevice(DeviceOfReports());
  Output report = ops::Const(listing, tensorflow::Input::Initializer(names));
  if (!variables.empty()) {
    const Output missing =
        ops::LogicalNot(listing, ops::Stack(listing, has_value));
    const Output indices = ops::Squeeze(listing, ops::Where(listing, missing),
                                        ops::Squeeze::Axis({1}));
    report = ops::GatherV2(listing, report, indices, 0);
  }
  TF_RETURN_IF_ERROR(scope.status());
  return report.name();
}

absl::StatusOr<std::shared_ptr<Saver>> CollectedOrDefaultSaver(Graph& graph) {
  TF_ASSIGN_OR_RETURN(
      const std::vector<tensorflow::SaverDef> defs,
      graph.GetProtoCollection<tensorflow::SaverDef>(collection_keys::kSavers));
  if (defs.size() > 1)
    return MoreThanOne(collection_keys::kSavers, defs.size(), "saver");
  if (defs.size() == 1) return Saver::FromSaverDef(graph, defs.front());
  Saver::Options options;
  options.allow_empty = true;
  TF_ASSIGN_OR_RETURN(std::shared_ptr<Saver> saver,
                      Saver::Create(graph, options));
  if (!saver->empty()) {
    TF_RETURN_IF_ERROR(
        graph.AddToCollection(collection_keys::kSavers, saver->saver_def()));
  }
  return saver;
}

}  // namespace

Scaffold::Scaffold(Options options) : pieces_(std::move(options)) {
  if (pieces_.copy_from_scaffold == nullptr) return;
  const Options& other = pieces_.copy_from_scaffold->pieces_;
  auto take = [](auto& mine, const auto& theirs) {
    if (!mine.has_value()) mine = theirs;
  };
  take(pieces_.init_op, other.init_op);
  take(pieces_.warm_start, other.warm_start);
  take(pieces_.ready_op, other.ready_op);
  take(pieces_.ready_for_local_init_op, other.ready_for_local_init_op);
  take(pieces_.local_init_op, other.local_init_op);
  take(pieces_.summary_op, other.summary_op);
  if (pieces_.init_feed_dict.empty()) {
    pieces_.init_feed_dict = other.init_feed_dict;
  }
  if (pieces_.local_init_feed_dict.empty()) {
    pieces_.local_init_feed_dict = other.local_init_feed_dict;
  }
  if (pieces_.init_fn == nullptr) pieces_.init_fn = other.init_fn;
  if (pieces_.saver == nullptr) pieces_.saver = other.saver;
  pieces_.copy_from_scaffold = nullptr;
}

absl::StatusOr<std::string> Scaffold::DefaultLocalInitOp(Graph& graph) {
  return MakeGroup(
      graph, collection_keys::kLocalVariables,
      {collection_keys::kTableInitializers, collection_keys::kLocalResources});
}

absl::StatusOr<std::optional<std::string>> Scaffold::GetOrDefault(
    Graph& graph, std::string_view arg_name, std::string_view collection_key,
    absl::FunctionRef<absl::StatusOr<std::optional<std::string>>()>
        constructor) {
  const std::vector<std::string> collected =
      graph.GetCollection(collection_key);
  if (collected.size() > 1) {
    return MoreThanOne(collection_key, collected.size(), arg_name);
  }
  if (collected.size() == 1) return collected.front();
  TF_ASSIGN_OR_RETURN(std::optional<std::string> made, constructor());
  if (made.has_value()) {
    TF_RETURN_IF_ERROR(graph.AddToCollection(collection_key, *made));
  }
  return made;
}

absl::Status Scaffold::Finalize(Graph& graph) {
  namespace keys = collection_keys;
  using Constructor =
      absl::FunctionRef<absl::StatusOr<std::optional<std::string>>()>;
  // Each piece is called as its collection.
  const auto complete = [&graph](std::optional<std::string>& piece,
                                 std::string_view name,
                                 Constructor constructor) -> absl::Status {
    if (piece.has_value()) return absl::OkStatus();
    TF_ASSIGN_OR_RETURN(piece, GetOrDefault(graph, name, name, constructor));
    return absl::OkStatus();
  };
  TF_RETURN_IF_ERROR(complete(pieces_.init_op, keys::kInitOp, [&] {
    return MakeGroup(graph, keys::kGlobalVariables,
                     {keys::kResources, keys::kSavedModelInitializers});
  }));
  TF_RETURN_IF_ERROR(complete(pieces_.ready_op, keys::kReadyOp, [&] {
    return ReportWithoutValue(graph,
                              {keys::kGlobalVariables, keys::kLocalVariables});
  }));
  TF_RETURN_IF_ERROR(complete(
      pieces_.ready_for_local_init_op, keys::kReadyForLocalInitOp,
      [&] { return ReportWithoutValue(graph, {keys::kGlobalVariables}); }));
  TF_RETURN_IF_ERROR(complete(pieces_.local_init_op, keys::kLocalInitOp,
                              [&] { return DefaultLocalInitOp(graph); }));
  TF_RETURN_IF_ERROR(
      complete(pieces_.summary_op, keys::kSummaryOp,
               [&]() -> absl::StatusOr<std::optional<std::string>> {
                 TF_ASSIGN_OR_RETURN(const std::optional<Output> merged,
                                     MergeAllSummaries(graph));
                 if (!merged.has_value()) return std::nullopt;
                 return merged->name();
               }));
  if (pieces_.saver == nullptr) {
    TF_ASSIGN_OR_RETURN(pieces_.saver, CollectedOrDefaultSaver(graph));
  }
  TF_RETURN_IF_ERROR(pieces_.saver->Build(graph));
  if (frozen_ == nullptr) {
    TF_RETURN_IF_ERROR(graph.Finalize());
    frozen_ = &graph;
  }
  LOG(INFO) << "The graph is finalized";
  return absl::OkStatus();
}

void Scaffold::Unfinalize() {
  if (frozen_ != nullptr) frozen_->Unfinalize();
  frozen_ = nullptr;
}

absl::Status Scaffold::RunInitFn(Session& session) {
  if (pieces_.init_fn == nullptr) return absl::OkStatus();
  return pieces_.init_fn(*this, session);
}

}  // namespace tftrain
