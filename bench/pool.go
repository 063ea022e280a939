// Small jobs: goroutines that receive jobs from a channel, with a channel for the result of each.
package main

const batch = 100 // jobs that are on their way at a time

type job struct {
	i      int
	result chan int
}

func work(jobs chan job) {
	for j := range jobs {
		j.result <- j.i + 1
	}
}

func batches(n int, start func(int) chan int) {
	var underWay [batch]chan int
	for k := 0; k < n/batch; k++ {
		for i := range underWay {
			underWay[i] = start(i)
		}
		for _, result := range underWay {
			<-result
		}
	}
}

func pooled(n, workers int) float64 {
	jobs := make(chan job, batch)
	for i := 0; i < workers; i++ {
		go work(jobs)
	}
	return measure(n, func(count int) {
		batches(count, func(i int) chan int {
			result := make(chan int, 1)
			jobs <- job{i, result}
			return result
		})
	})
}

func spawned(n int) float64 {
	return measure(n, func(count int) {
		batches(count, func(i int) chan int {
			result := make(chan int, 1)
			go func() { result <- i + 1 }()
			return result
		})
	})
}

func main() {
	n, workers := arg(1, 100000), arg(2, 2)
	report("pool", pooled(n, workers)*1e9, "ns")
	report("pool/task-per-job", spawned(n)*1e9, "ns")
}
