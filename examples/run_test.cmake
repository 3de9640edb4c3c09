# SPDX-FileCopyrightText: The tftrain authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs PROGRAM with ARGUMENTS in a folder made anew, and again with
# AGAIN_ARGUMENTS; what each prints must match EXPECTED and EXPECTED_AGAIN. Lists
# are parted by "|", and {run} stands for the folder.

file(REMOVE_RECURSE "${RUN_DIR}")
file(MAKE_DIRECTORY "${RUN_DIR}")

function(run_and_match arguments expected)
  string(REPLACE "{run}" "${RUN_DIR}" arguments "${arguments}")
  string(REPLACE "|" ";" arguments "${arguments}")
  execute_process(COMMAND "${PROGRAM}" ${arguments}
                  OUTPUT_VARIABLE output ERROR_VARIABLE errors
                  RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "it ended with ${result}:\n${output}${errors}")
  endif()
  if(NOT output MATCHES "${expected}")
    message(FATAL_ERROR "it printed:\n${output}\nwhich lacks: ${expected}")
  endif()
endfunction()

run_and_match("${ARGUMENTS}" "${EXPECTED}")
if(EXPECTED_AGAIN)
  run_and_match("${AGAIN_ARGUMENTS}" "${EXPECTED_AGAIN}")
endif()
