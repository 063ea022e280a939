std = "lua54"
max_line_length = 100
files["spec"].std = "+busted"
files["lua/bin/rille"].globals = { "_" } -- what the shell reads
files[".busted"].std = "lua54"
files["rockspec"].std = "+rockspec"
