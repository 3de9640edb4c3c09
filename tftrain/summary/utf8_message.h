// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Used by EventFileWriter.

#ifndef TFTRAIN_SUMMARY_UTF8_MESSAGE_H_
#define TFTRAIN_SUMMARY_UTF8_MESSAGE_H_

#include "google/protobuf/message.h"

namespace tftrain::internal {

// Thread-safe: the function shares nothing.

// Replaces, as tftrain::MakeUtf8 does, what is no UTF-8 in the texts of
// `message` and of all that it holds: no reader would parse it. Fields of bytes
// stay as they are.
void MakeTextsUtf8(google::protobuf::Message* message);

}  // namespace tftrain::internal

#endif  // TFTRAIN_SUMMARY_UTF8_MESSAGE_H_
