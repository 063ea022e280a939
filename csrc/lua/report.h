/*
** report: what is said on stderr, or in an error, of tasks that wait for nothing.
*/
#ifndef RL_REPORT_H
#define RL_REPORT_H

#include <stdio.h>

#include "lua/state.h"

/* What RILLE_LEAKS says is to be done about leaks at a program's end. */
typedef enum { RL_LEAKS_IGNORE, RL_LEAKS_REPORT, RL_LEAKS_FAIL, RL_LEAKS_COLLECT } rl_leaks_mode;
rl_leaks_mode rl_leaks_setting(void); /* read once, when the module is loaded */

/* Writes a line for each task of the program that waits, each behind a newline. */
void rl_report_waiting(FILE *f, rl_program *p);

/* At the end of a program, when its tasks have had their moment: finds and reports, or unwinds, those that
   nothing but its main program could have woken. `own`: on the main program's thread. */
void rl_report_leaks(rl_program *p, bool own);

#endif
