// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

// Where the progress of a run is shown.

#ifndef TFTRAIN_HOOKS_PROGRESS_SINK_H_
#define TFTRAIN_HOOKS_PROGRESS_SINK_H_

#include <memory>
#include <string_view>

namespace tftrain {

// Something that shows text: a terminal, a log, a test's string.
//
// Confined: a hook calls it from one thread.
class ProgressSink {
 public:
  virtual ~ProgressSink() = default;

  // Shows `text`, which holds its own newlines, at once. A carriage return
  // takes a terminal back to the beginning of the line.
  virtual void Write(std::string_view text) = 0;

  // Whether a line can be written over.
  virtual bool is_terminal() const = 0;
  // Columns of a line; only of a terminal.
  virtual int width() const { return 80; }
  // Whether colours are wanted; only on a terminal.
  virtual bool has_color() const { return false; }

  // The standard error stream. A terminal unless $TERM is "dumb"; its width is
  // asked for each time; colours unless $NO_COLOR is set and not empty.
  static std::shared_ptr<ProgressSink> Stderr();
};

}  // namespace tftrain

#endif  // TFTRAIN_HOOKS_PROGRESS_SINK_H_
