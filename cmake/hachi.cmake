# Our own targets: warnings are errors (designated initializers may leave defaults), and every #include starts at the repository's root.
add_library(hachi_flags INTERFACE)
target_compile_options(hachi_flags INTERFACE -Wall -Wextra -Wshadow -Wno-missing-field-initializers -Werror
  # The sanitizers' checks make the compiler's flow analysis see uninitialized moves in std::variant and the like.
  $<$<AND:$<CONFIG:Sanitize>,$<CXX_COMPILER_ID:GNU>>:-Wno-maybe-uninitialized -Wno-restrict>
  # The fuzz preset's compiler; what it warns of is GCC's and clang-tidy's to say.
  $<$<CXX_COMPILER_ID:Clang>:-w>)
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

# Build what runs under sanitizers before a change lands; ctest knows those tests by the labels `tsan` and `asan`.
add_custom_target(tsan_tests)
add_custom_target(asan_tests)

# hachi_test(NAME [TSAN] [ASAN] SOURCES a_test.cc ... DEPS target ...): one test binary a library, one ctest entry a binary.
# TSAN: it runs under the thread sanitizer too. Not for what has gRPC or an OpenMP team of several threads in its
# process: they come from the distribution without instrumentation, and the sanitizer takes their locks for races.
# ASAN: it runs under the address and undefined-behaviour sanitizers too: what reads files, and every operator. The others do
# with `./dev test --sanitize`.
function(hachi_test name)
  cmake_parse_arguments(ARG "TSAN;ASAN" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} hachi_flags GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  foreach(sanitizer tsan asan)
    string(TOUPPER ${sanitizer} option)
    if(ARG_${option})
      set_property(TEST ${name} APPEND PROPERTY LABELS ${sanitizer})
      add_dependencies(${sanitizer}_tests ${name})
    endif()
  endforeach()
endfunction()

# hachi_embed(TARGET FILE...): TARGET's sources may #include "NAME.inc", a string literal with what FILE holds; NAME is
# the file's name without its folder.
function(hachi_embed target)
  foreach(file ${ARGN})
    get_filename_component(path ${file} ABSOLUTE)
    get_filename_component(name ${file} NAME)
    file(READ ${path} EMBEDDED)
    file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/gen/${name}.inc
      CONTENT "R\"embedded(@EMBEDDED@)embedded\"\n" @ONLY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${path})
  endforeach()
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/gen)
endfunction()
