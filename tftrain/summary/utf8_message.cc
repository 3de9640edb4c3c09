// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/summary/utf8_message.h"

#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "tftrain/base/utf8.h"

namespace tftrain::internal {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

void MakeTextsUtf8(Message* message) {
  const Reflection& reflection = *message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* const field : fields) {
    const bool is_text = field->type() == FieldDescriptor::TYPE_STRING;
    const bool is_message =
        field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (!is_text && !is_message) continue;
    if (!field->is_repeated()) {
      if (is_message) {
        MakeTextsUtf8(reflection.MutableMessage(message, field));
      } else {
        std::string text = reflection.GetString(*message, field);
        MakeUtf8(&text);
        reflection.SetString(message, field, std::move(text));
      }
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(*message, field); ++i) {
      if (is_message) {
        MakeTextsUtf8(reflection.MutableRepeatedMessage(message, field, i));
      } else {
        std::string text = reflection.GetRepeatedString(*message, field, i);
        MakeUtf8(&text);
        reflection.SetRepeatedString(message, field, i, std::move(text));
      }
    }
  }
}

}  // namespace tftrain::internal
