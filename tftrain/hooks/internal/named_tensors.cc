// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/hooks/internal/named_tensors.h"

#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tensorflow/core/framework/types.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain::internal {
namespace {

using tensorflow::DataType;

// The types that NumberIn() reads.
bool IsNumber(DataType dtype) {
  switch (dtype) {
    case tensorflow::DT_FLOAT:
    case tensorflow::DT_DOUBLE:
    case tensorflow::DT_HALF:
    case tensorflow::DT_BFLOAT16:
    case tensorflow::DT_BOOL:
    case tensorflow::DT_INT8:
    case tensorflow::DT_UINT8:
    case tensorflow::DT_INT16:
    case tensorflow::DT_UINT16:
    case tensorflow::DT_INT32:
    case tensorflow::DT_UINT32:
    case tensorflow::DT_INT64:
    case tensorflow::DT_UINT64:
      return true;
    default:
      return false;
  }
}

template <typename T>
double First(const tensorflow::Tensor& tensor) {
  return static_cast<double>(tensor.flat<T>()(0));
}

absl::Status NoNumber(std::string_view name, const std::string& what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the tensor \"", name, "\" is ", what,
                   " and not one number; name a scalar"));
}

}  // namespace

absl::StatusOr<std::string> TensorName(const Graph& graph,
                                       const std::string& name) {
  if (absl::StrContains(name, ':')) {
    TF_RETURN_IF_ERROR(graph.FindTensor(name).status());
    return name;
  }
  TF_ASSIGN_OR_RETURN(const tensorflow::Node* node, graph.FindOperation(name));
  if (node->num_outputs() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the operation \"", name, "\" has ", node->num_outputs(),
                     node->num_outputs() == 0
                         ? " outputs and no value; name another one"
                         : " outputs; name the one that is meant, such as \"" +
                               name + ":0\""));
  }
  return absl::StrCat(name, ":0");
}

absl::StatusOr<std::string> NumberName(const Graph& graph,
                                       const std::string& name) {
  TF_ASSIGN_OR_RETURN(std::string full, TensorName(graph, name));
  TF_ASSIGN_OR_RETURN(const TensorRef tensor, graph.FindTensor(full));
  if (!IsNumber(tensor.dtype())) {
    return NoNumber(
        full,
        absl::StrCat("of type ", tensorflow::DataTypeString(tensor.dtype())));
  }
  const tensorflow::PartialTensorShape shape = graph.ShapeOf(AsOutput(tensor));
  if (shape.num_elements() >= 0 && shape.num_elements() != 1) {
    return NoNumber(full, absl::StrCat("of the shape ", shape.DebugString()));
  }
  return full;
}

absl::StatusOr<double> NumberIn(const tensorflow::Tensor& tensor,
                                std::string_view name) {
  if (tensor.NumElements() != 1) {
    return NoNumber(
        name, absl::StrCat("of the shape ", tensor.shape().DebugString()));
  }
  switch (tensor.dtype()) {
    case tensorflow::DT_FLOAT:
      return First<float>(tensor);
    case tensorflow::DT_DOUBLE:
      return First<double>(tensor);
    case tensorflow::DT_HALF:
      return First<Eigen::half>(tensor);
    case tensorflow::DT_BFLOAT16:
      return First<tensorflow::bfloat16>(tensor);
    case tensorflow::DT_BOOL:
      return First<bool>(tensor);
    case tensorflow::DT_INT8:
      return First<int8_t>(tensor);
    case tensorflow::DT_UINT8:
      return First<uint8_t>(tensor);
    case tensorflow::DT_INT16:
      return First<int16_t>(tensor);
    case tensorflow::DT_UINT16:
      return First<uint16_t>(tensor);
    case tensorflow::DT_INT32:
      return First<int32_t>(tensor);
    case tensorflow::DT_UINT32:
      return First<uint32_t>(tensor);
    case tensorflow::DT_INT64:
      return First<int64_t>(tensor);
    case tensorflow::DT_UINT64:
      return First<uint64_t>(tensor);
    default:
      return NoNumber(
          name,
          absl::StrCat("of type ", tensorflow::DataTypeString(tensor.dtype())));
  }
}

FetchTree FetchAll(const std::vector<std::string>& tensors) {
  std::vector<FetchTree> fetches;
  for (const std::string& tensor : tensors) {
    fetches.push_back(Fetch<tensorflow::Tensor>(tensor));
  }
  return List(fetches);
}

}  // namespace tftrain::internal
