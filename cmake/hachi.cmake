# Our own targets: warnings are errors (designated initializers may leave defaults), and every #include starts at the repository's root.
add_library(hachi_flags INTERFACE)
target_compile_options(hachi_flags INTERFACE -Wall -Wextra -Wshadow -Wno-missing-field-initializers -Werror
  # The sanitizers' checks make the compiler's flow analysis see uninitialized moves in std::variant and the like.
  $<$<CONFIG:Sanitize>:-Wno-maybe-uninitialized -Wno-restrict>)
target_include_directories(hachi_flags INTERFACE ${PROJECT_SOURCE_DIR})

# hachi_library(NAME SOURCES a.cc ... DEPS target ...): one library a folder. A folder of headers only has no SOURCES.
function(hachi_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  if(ARG_SOURCES)
    add_library(${name} STATIC ${ARG_SOURCES})
    target_link_libraries(${name} PUBLIC ${ARG_DEPS} hachi_flags)
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${ARG_DEPS} hachi_flags)
  endif()
endfunction()

# Builds what runs under the thread sanitizer; ctest knows those tests by the label `tsan`.
add_custom_target(tsan_tests)

# hachi_test(NAME [TSAN] SOURCES a_test.cc ... DEPS target ...): one test binary a library, one ctest entry a binary.
# TSAN: it runs under the thread sanitizer too. Not for what has gRPC or an OpenMP team of several threads in its
# process: they come from the distribution without instrumentation, and the sanitizer takes their locks for races.
function(hachi_test name)
  cmake_parse_arguments(ARG "TSAN" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} hachi_flags GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  if(ARG_TSAN)
    set_tests_properties(${name} PROPERTIES LABELS tsan)
    add_dependencies(tsan_tests ${name})
  endif()
endfunction()
