// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// The names under which Python's `tf.compat.v1.GraphKeys` and Scaffold keep
// their pieces in a MetaGraph. The spellings are part of the file format.
// Constants: Thread-safe.

#ifndef TFTRAIN_GRAPH_COLLECTION_KEYS_H_
#define TFTRAIN_GRAPH_COLLECTION_KEYS_H_

#include <string_view>

namespace tftrain::collection_keys {

// Variables, as serialized VariableDef.
inline constexpr std::string_view kGlobalVariables = "variables";
inline constexpr std::string_view kLocalVariables = "local_variables";
inline constexpr std::string_view kTrainableVariables = "trainable_variables";
inline constexpr std::string_view kModelVariables = "model_variables";
inline constexpr std::string_view kMetricVariables = "metric_variables";
inline constexpr std::string_view kMovingAverageVariables =
    "moving_average_variables";
inline constexpr std::string_view kGlobalStep = "global_step";

// Other serialized protos.
inline constexpr std::string_view kSavers = "savers";
inline constexpr std::string_view kQueueRunners = "queue_runners";
inline constexpr std::string_view kCondContext = "cond_context";
inline constexpr std::string_view kWhileContext = "while_context";

// Names of operations and tensors.
inline constexpr std::string_view kSummaries = "summaries";
inline constexpr std::string_view kTrainOp = "train_op";
inline constexpr std::string_view kLosses = "losses";
inline constexpr std::string_view kUpdateOps = "update_ops";
inline constexpr std::string_view kTableInitializers = "table_initializer";
inline constexpr std::string_view kResources = "resources";
inline constexpr std::string_view kLocalResources = "local_resources";
inline constexpr std::string_view kSavedModelInitializers =
    "saved_model_initializers";
inline constexpr std::string_view kSaveableObjects = "saveable_objects";

// Where a finalized Scaffold keeps its pieces.
inline constexpr std::string_view kInitOp = "init_op";
inline constexpr std::string_view kReadyOp = "ready_op";
inline constexpr std::string_view kReadyForLocalInitOp =
    "ready_for_local_init_op";
inline constexpr std::string_view kLocalInitOp = "local_init_op";
inline constexpr std::string_view kSummaryOp = "summary_op";

}  // namespace tftrain::collection_keys

#endif  // TFTRAIN_GRAPH_COLLECTION_KEYS_H_
