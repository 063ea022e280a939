// An idle program with many parked goroutines: the CPU time it uses and the times its threads wake up.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) * 1e-9
}

// How often the threads of this process have begun to run again after a wait.
func wakeUps() int {
	sum := 0
	files, _ := filepath.Glob("/proc/self/task/*/status")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for _, line := range strings.Split(string(text), "\n") {
			if words := strings.Fields(line); len(words) > 1 && words[0] == "voluntary_ctxt_switches:" {
				n, _ := strconv.Atoi(words[1])
				sum += n
			}
		}
	}
	return sum
}

func main() {
	count, seconds := arg(1, 10000), arg(2, 2)
	ready, ch := make(chan bool, count), make(chan bool)
	for i := 0; i < count; i++ {
		go func() {
			ready <- true
			<-ch
		}()
	}
	for i := 0; i < count; i++ {
		<-ready
	}
	time.Sleep(time.Second)
	c, w := cpu(), wakeUps()
	time.Sleep(time.Duration(seconds) * time.Second)
	c, w = cpu()-c, wakeUps()-w
	name := fmt.Sprintf("idle-%d/", count)
	report(name+"cpu", c/float64(seconds)*1e6, "us/s")
	report(name+"wake-ups", float64(w)/float64(seconds), "1/s")
}
