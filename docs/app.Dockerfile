# The dashboard as an application: docker build -f docs/app.Dockerfile -t hpoviz-app .   (docs/deployment.md)
FROM python:3.12-slim

WORKDIR /app
COPY pyproject.toml README.md LICENSE /source/
COPY hpoviz /source/hpoviz
RUN pip install --no-cache-dir '/source[lab]' && rm -r /source
COPY notebooks/app.ipynb /app/app.ipynb

RUN useradd --create-home --uid 1000 hpoviz && mkdir /app/hpoviz_runs && chown -R hpoviz /app
USER hpoviz
EXPOSE 8866
CMD ["voila", "app.ipynb", "--no-browser", "--port=8866", "--Voila.ip=0.0.0.0"]
