#include "driver/cli.h"

int main(int argc, char** argv) { return treadle::run_command_line(argc, argv); }
