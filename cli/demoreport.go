package cli

import (
	"bytes"
	_ "embed"
	"html/template"
	"runtime"

	"github.com/ligoonnx/ligoonnx/ligo"
	"github.com/ligoonnx/ligoonnx/ligo/race"
)

//go:embed demoreport.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Funcs(template.FuncMap{"points": points, "tera": func(f float64) float64 { return f / 1e12 }, "loss": loss}).Parse(reportPage))

// reportMark is in every report of the demonstration, and tells one from a file of the user's.
const reportMark = `<meta name="generator" content="ligoonnx demo"/>`

func ownReport(page []byte) bool { return bytes.Contains(page, []byte(reportMark)) }

// writeReport writes report.html: one file that needs nothing else.
func (d *demonstration) writeReport() error {
	r := d.result
	page := struct {
		demoJSON
		Chart                template.HTML
		Account, Legend      string
		Growth, Table        [][]string
		NotExact             []string
		Best                 string
		Saved                float64
		Any                  bool
		Version, GoOS, GoCPU string
		Threads              int
		Lowest               *race.Curve
	}{demoJSON: r, Chart: template.HTML(race.Chart(r.Story.Curves)), Account: r.account(), Legend: r.legend(), Growth: r.growthTable(), Table: r.table(),
		NotExact: r.notExact(), Version: ligo.Version, GoOS: runtime.GOOS, GoCPU: runtime.GOARCH, Threads: d.threads}
	page.Best, page.Saved, page.Any = r.best()
	for _, c := range r.Story.Curves {
		if page.Lowest == nil || c.Final().Loss < page.Lowest.Final().Loss {
			page.Lowest = c
		}
	}
	if page.Threads == 0 {
		page.Threads = runtime.GOMAXPROCS(0)
	}
	var b bytes.Buffer
	if err := reportTemplate.Execute(&b, page); err != nil {
		return err
	}
	return writeWhole(r.Report, b.Bytes())
}
