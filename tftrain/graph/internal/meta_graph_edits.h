// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// What is changed in a MetaGraph on its way into a graph or out of it.
//
// Thread-safe: the functions share nothing.

#ifndef TFTRAIN_GRAPH_INTERNAL_META_GRAPH_EDITS_H_
#define TFTRAIN_GRAPH_INTERNAL_META_GRAPH_EDITS_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "tensorflow/core/protobuf/meta_graph.pb.h"

namespace tftrain::internal {

// The collection that lists what operations of an exported scope take from
// outside of it.
inline constexpr std::string_view kUnboundInputs = "unbound_inputs";

// What operations take as input -> what they take instead, both as a GraphDef
// writes inputs: "x", "x:1", "^x".
using InputNames = std::map<std::string, std::string>;

// `name`, "x:0" as well as "x", as a GraphDef writes it.
std::string InputName(const std::string& name);

// Replaces `inputs` and puts `scope` and a "/" before all other names: of
// operations, frames, and in collections and the SaverDef. An empty scope
// changes only the inputs. Variables get storage of their own. Where inputs are
// replaced, the shapes of outputs are forgotten, as they may be others now.
//
// What else a MetaGraph may say about names (signatures, assets, objects) is
// dropped when there is a scope.
//
// Errors: kInvalidArgument when the collection of unbound inputs lists one that
// `inputs` lacks, no operation takes one of `inputs`, or a collection holds an
// item that does not parse.
absl::Status PrependScope(const std::string& scope, const InputNames& inputs,
                          tensorflow::MetaGraphDef* meta_graph);

// Leaves the operations under `scope`, and of collections and the SaverDef what
// belongs to them, without that beginning of their names. Inputs from outside
// get a mark, and are listed in a collection, once each.
//
// Errors: kInvalidArgument when nothing is left, or a collection holds an item
// that does not parse.
absl::Status KeepScope(const std::string& scope,
                       tensorflow::MetaGraphDef* meta_graph);

// Drops the operations of savers other than the SaverDef's, and what the
// collections say about them. A saver's operations are those that share a scope
// with one that saves or restores, if nothing outside of it needs them.
absl::Status RemoveOtherSavers(tensorflow::MetaGraphDef* meta_graph);

// Lets every operation run on any device.
void ClearDevices(tensorflow::GraphDef* graph_def);

// Drops attributes that have their default value, also in functions, and notes
// that they were dropped.
void StripDefaultAttributes(tensorflow::MetaGraphDef* meta_graph);

// Adds the functions, and their gradients, that `graph_def` does not have.
void AddNewFunctions(const tensorflow::FunctionDefLibrary& functions,
                     tensorflow::GraphDef* graph_def);

// Names what a MetaGraph was made with, if that is not known, and lists the
// operations it uses.
void FillMetaInfo(const tensorflow::GraphDef& graph_def,
                  tensorflow::MetaGraphDef::MetaInfoDef* info);

}  // namespace tftrain::internal

#endif  // TFTRAIN_GRAPH_INTERNAL_META_GRAPH_EDITS_H_
