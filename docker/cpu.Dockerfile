# ablate on CPUs: docker build -f docker/cpu.Dockerfile -t ablate:cpu .
#                 docker run --rm -v $PWD/runs:/work/runs ablate:cpu run /opt/ablate/studies/quickstart.yaml
FROM python:3.11-slim
WORKDIR /opt/ablate
COPY constraints.txt ./
# The CPU build first: the default wheel brings gigabytes of CUDA.
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY pyproject.toml setup.py README.md LICENSE ./
COPY ablate ablate
COPY dashboards dashboards
RUN pip install --no-cache-dir -c constraints.txt '.[wandb,quantization,optimizers,export,ray,slurm,postgres,dashboard,cleaning]'
COPY studies studies
COPY docker/cluster.yaml docker/cluster.yaml
ENV OMP_WAIT_POLICY=PASSIVE
WORKDIR /work
ENTRYPOINT ["ablate"]
CMD ["--help"]
