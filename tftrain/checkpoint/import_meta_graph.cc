// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/import_meta_graph.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/log/log.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/variable.pb.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"
#include "tftrain/base/errors.h"
#include "tftrain/graph/collection_keys.h"
#include "tftrain/graph/meta_graph.h"

namespace tftrain {
namespace {

using tensorflow::MetaGraphDef;
using tensorflow::VariableDef;

// Whether `graph` has something in `scope` that a saver saves by default.
absl::StatusOr<bool> HasSaveables(const Graph& graph,
                                  const std::string& scope) {
  const std::string prefix = scope.empty() ? "" : absl::StrCat(scope, "/");
  std::vector<std::string> names =
      graph.GetCollection(collection_keys::kSaveableObjects);
  TF_ASSIGN_OR_RETURN(
      const std::vector<VariableDef> variables,
      graph.GetProtoCollection<VariableDef>(collection_keys::kGlobalVariables));
  for (const VariableDef& variable : variables) {
    names.push_back(variable.variable_name());
  }
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
    return absl::StartsWith(name, prefix);
  });
}

}  // namespace

absl::StatusOr<ImportedMetaGraph> ImportMetaGraph(
    Graph& graph, const std::string& path, const ImportOptions& options) {
  TF_ASSIGN_OR_RETURN(MetaGraphDef meta_graph, ReadMetaGraph(path));
  absl::StatusOr<ImportedMetaGraph> imported =
      ImportMetaGraph(graph, std::move(meta_graph), options);
  if (!imported.ok()) {
    return Annotate(imported.status(), absl::StrCat("in \"", path, "\""));
  }
  return imported;
}

absl::StatusOr<ImportedMetaGraph> ImportMetaGraph(
    Graph& graph, MetaGraphDef meta_graph, const ImportOptions& options) {
  TF_ASSIGN_OR_RETURN(const Graph::Imported names,
                      graph.Import(std::move(meta_graph), options));
  ImportedMetaGraph imported;
  imported.scope = names.scope;
  if (names.saver_def) {
    TF_ASSIGN_OR_RETURN(imported.saver,
                        Saver::FromSaverDef(graph, *names.saver_def));
    return imported;
  }
  TF_ASSIGN_OR_RETURN(const bool has_saveables,
                      HasSaveables(graph, names.scope));
  if (has_saveables) {
    TF_ASSIGN_OR_RETURN(imported.saver, Saver::Create(graph));
  } else {
    LOG(INFO) << "The MetaGraph has no variables, so there is no saver for it";
  }
  return imported;
}

}  // namespace tftrain
